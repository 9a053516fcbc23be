//! Reading a PDF in a process of its own.
//!
//! A PDF can say anything in very few bytes: streams that unpack a thousandfold,
//! objects within objects, streams that name each other. A reader that fills the
//! memory, the stack or the time ends itself here, and nobody else.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use sources::{Format, MAX_FILE_BYTES, MAX_TEXT_BYTES, ReadError, Reading};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::SourceError;

/// The argument that makes the program read a PDF and nothing else.
pub const READ_PDF: &str = "read-pdf";
/// How long a PDF may take: an API on AWS answers within 30 s.
const TIME: Duration = Duration::from_secs(15);
/// Processor time, should the parent die and not count.
const CPU_SECONDS: u64 = 20;
/// Memory of the reading process.
const MEMORY: u64 = 768 * 1024 * 1024;
/// A text in JSON: up to six times its bytes, of control characters.
const MOST_ANSWER: u64 = 6 * MAX_TEXT_BYTES as u64 + 64 * 1024;
/// For objects within objects.
const STACK: usize = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
enum Answer {
    Read { title: Option<String>, text: String },
    Refused(ReadError),
}

/// What a PDF says, by `program`, which is this program's own file.
pub(super) async fn read_in_child(program: &Path, bytes: &[u8]) -> Result<Reading, SourceError> {
    let child = Command::new(program)
        .arg(READ_PDF)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let conversation = converse(child.map_err(SourceError::NoReader)?, bytes);
    match tokio::time::timeout(TIME, conversation).await {
        Ok(answer) => Ok(answer.unwrap_or(Err(ReadError::NotPdf))?),
        Err(_) => Err(ReadError::TooLarge.into()),
    }
}

/// Nothing, if the process ended without an answer.
async fn converse(mut child: Child, bytes: &[u8]) -> Option<Result<Reading, ReadError>> {
    let (mut to, from) = (child.stdin.take()?, child.stdout.take()?);
    let mut answer = Vec::new();
    let ask = async move {
        // It may end before it has read everything.
        let _ = to.write_all(bytes).await;
        drop(to);
    };
    let mut from = from.take(MOST_ANSWER);
    let (_, read) = tokio::join!(ask, from.read_to_end(&mut answer));
    read.ok()?;
    let _ = child.wait().await;
    match serde_json::from_slice(&answer).ok()? {
        Answer::Read { title, text } => Some(Ok(Reading { title, text })),
        Answer::Refused(error) => Some(Err(error)),
    }
}

/// What the program does when it is called with [`READ_PDF`]: reads a PDF from
/// standard input and answers on standard output.
pub fn read_pdf_for_parent() -> ExitCode {
    let limit = |resource, most| {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).is_ok()
    };
    let limited =
        limit(Resource::As, MEMORY) && limit(Resource::Cpu, CPU_SECONDS) && limit(Resource::Core, 0);
    let reader = std::thread::Builder::new().stack_size(STACK).spawn(answer);
    let answered = limited && reader.is_ok_and(|reader| matches!(reader.join(), Ok(Some(()))));
    if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn answer() -> Option<()> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    let answer = match sources::read(&bytes, Format::Pdf, None) {
        Ok(Reading { title, text }) => Answer::Read { title, text },
        Err(error) => Answer::Refused(error),
    };
    let json = serde_json::to_vec(&answer).ok()?;
    std::io::stdout().lock().write_all(&json).ok()
}
