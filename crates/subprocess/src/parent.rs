//! The parent process, which waits for the work.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use domain::{Prompt, PromptError};
use rustix::process::Signal;
use sources::{DocumentFormat, DocumentText, MAX_TEXT_BYTES, ReadError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::child::{DocumentHeader, Job, NOT_STARTED};
use crate::{DocumentError, RenderError, Subprocesses};

/// An API on AWS must respond within 30 s.
const PDF_TIME: Duration = Duration::from_secs(15);
/// On a small Lambda function, a second of processor time takes three seconds.
const TIME: Duration = Duration::from_secs(10);
/// A text as JSON: up to six times its bytes, for control characters.
const MAX_OUTPUT_BYTES: u64 = 6 * MAX_TEXT_BYTES as u64 + 64 * 1024;

/// The outcome of a subprocess.
enum JobOutcome<T> {
    Finished(T),
    /// It exceeded a limit, or failed.
    Failed,
    TimedOut,
}

pub(crate) async fn render_prompt(
    subprocesses: &Subprocesses,
    prompt: &Prompt<'_>,
) -> Result<String, RenderError> {
    // The semaphore is never closed.
    let _slot = subprocesses.prompt_slots.acquire().await;
    let input = serde_json::to_vec(prompt).map_err(|error| RenderError::System(error.into()))?;
    let outcome =
        run::<Result<String, PromptError>>(subprocesses, Job::RenderPrompt, &[&input], TIME).await;
    match outcome.map_err(RenderError::System)? {
        JobOutcome::Finished(rendered) => Ok(rendered?),
        JobOutcome::Failed => Err(RenderError::OverLimit),
        // The limit of processor time is lower, so the machine was overloaded.
        JobOutcome::TimedOut => Err(RenderError::System(io::ErrorKind::TimedOut.into())),
    }
}

pub(crate) async fn read_document(
    subprocesses: &Subprocesses,
    bytes: &[u8],
    format: DocumentFormat,
    charset: Option<&str>,
) -> Result<DocumentText, DocumentError> {
    let (job, time) = match format {
        DocumentFormat::Pdf => (Job::ReadPdf, PDF_TIME),
        _ => (Job::ReadPage, TIME),
    };
    let header = DocumentHeader {
        format,
        charset: charset.map(str::to_owned),
    };
    let mut header =
        serde_json::to_vec(&header).map_err(|error| DocumentError::System(error.into()))?;
    header.push(b'\n');
    let outcome =
        run::<Result<DocumentText, ReadError>>(subprocesses, job, &[&header, bytes], time).await;
    match (outcome.map_err(DocumentError::System)?, format) {
        (JobOutcome::Finished(reading), _) => Ok(reading?),
        (JobOutcome::Failed, DocumentFormat::Pdf) => Err(ReadError::NotPdf.into()),
        (JobOutcome::TimedOut, DocumentFormat::Pdf) => Err(ReadError::TooLarge.into()),
        (JobOutcome::Failed | JobOutcome::TimedOut, _) => Err(ReadError::TooComplex.into()),
    }
}

async fn run<T: serde::de::DeserializeOwned>(
    subprocesses: &Subprocesses,
    job: Job,
    input: &[&[u8]],
    time: Duration,
) -> io::Result<JobOutcome<T>> {
    let child = Command::new(&*subprocesses.program)
        .arg(job.name())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A signal to the program's process group, such as Ctrl-C, must not reach it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let Ok(exchanged) = tokio::time::timeout(time, exchange(child, input)).await else {
        return Ok(JobOutcome::TimedOut);
    };
    let (status, output) = exchanged?;
    if was_ended_from_outside(status) {
        return Err(io::Error::other(format!(
            "the subprocess ended with {status}"
        )));
    }
    let output = if status.success() {
        serde_json::from_slice(&output).ok()
    } else {
        None
    };
    Ok(output.map_or(JobOutcome::Failed, JobOutcome::Finished))
}

/// Whether a subprocess was ended from outside, not by its work or its limits: by the system
/// because it was out of memory, or by a service manager that stops all processes of the service.
/// The same work may succeed later.
fn was_ended_from_outside(status: ExitStatus) -> bool {
    let foreign = [
        Signal::KILL,
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
    ]
    .map(Signal::as_raw);
    status.code() == Some(NOT_STARTED.into())
        || status
            .signal()
            .is_some_and(|signal| foreign.contains(&signal))
}

/// Writes the input, and reads the output to its end.
async fn exchange(mut child: Child, input: &[&[u8]]) -> io::Result<(ExitStatus, Vec<u8>)> {
    let (Some(mut to_child), Some(from_child)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let write = async move {
        for bytes in input {
            // The subprocess may end before it has read everything.
            if to_child.write_all(bytes).await.is_err() {
                break;
            }
        }
    };
    let mut output = Vec::new();
    let mut from_child = from_child.take(MAX_OUTPUT_BYTES);
    let ((), read) = tokio::join!(write, from_child.read_to_end(&mut output));
    read?;
    Ok((child.wait().await?, output))
}
