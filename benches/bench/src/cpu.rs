//! What a process has used of the processors.

use std::process::Child;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use crate::Failure;

/// By its own clock, which counts threads that have ended, too
/// (`clock_getcpuclockid(3)`).
pub(crate) fn of(process: &Child) -> Result<Duration, Failure> {
    let id = Pid::from_raw(i32::try_from(process.id())?);
    Ok(ClockId::pid_cpu_clock_id(id)?.now()?.into())
}
