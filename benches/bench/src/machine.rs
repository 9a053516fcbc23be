//! The machine that was measured.

use std::fs;
use std::process::Command;

use crate::Failure;

/// In a sentence, with the day and the version of the code.
pub(crate) fn described() -> Result<String, Failure> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = field(&cpus, "model name");
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = field(&memory, "MemTotal").trim_end_matches(" kB").parse()?;
    Ok(format!(
        "Measured on {} ({}): {model}, {cores} cores, {} GiB, Linux {}, files on {}; {}; load before the start {}.",
        said_by("date", &["-u", "+%Y-%m-%d"])?,
        said_by("git", &["describe", "--always", "--dirty"])?,
        kib.div_ceil(1024 * 1024),
        said_by("uname", &["-r"])?,
        said_by("stat", &["-f", "-c", "%T", "."])?,
        said_by("rustc", &["--version"])?,
        fs::read_to_string("/proc/loadavg")?
            .split(' ')
            .next()
            .unwrap_or_default(),
    ))
}

fn field(text: &str, name: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_default();
    line.split_once(':')
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

fn said_by(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
