//! The child process, which does the work.

use std::io::{BufRead as _, Read as _, Write as _};
use std::process::ExitCode;

use domain::Prompt;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use serde::{Deserialize, Serialize};
use sources::{DocumentFormat, MAX_FILE_BYTES};

const MIB: u64 = 1024 * 1024;
/// For nested objects in a PDF.
const PDF_STACK: usize = 64 * 1024 * 1024;
/// The template engine allocates its own stack in addition.
const STACK: usize = 2 * 1024 * 1024;
/// A template and a payload of up to 4 MiB, which is at most twice as long as a JSON string.
const MAX_PROMPT_BYTES: u64 = 16 * MIB;
/// Fits a charset of any length that a request can have.
const MAX_HEADER_BYTES: u64 = 1024 * 1024;
/// The exit code of a subprocess that could not start its work.
pub(crate) const NOT_STARTED: u8 = 3;
/// The increment of the nice value of a subprocess.
const NICENESS: i32 = 10;

/// The job of a subprocess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    ReadPdf,
    ReadPage,
    RenderPrompt,
}

/// The format of the document that follows.
#[derive(Serialize, Deserialize)]
pub(crate) struct DocumentHeader {
    pub(crate) format: DocumentFormat,
    pub(crate) charset: Option<String>,
}

impl Job {
    const ALL: [Self; 3] = [Self::ReadPdf, Self::ReadPage, Self::RenderPrompt];

    /// The command-line argument that requests the job.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ReadPdf => "read-pdf",
            Self::ReadPage => "read-page",
            Self::RenderPrompt => "render-prompt",
        }
    }

    /// Limits that the kernel enforces, even if the parent dies.
    const fn limits(self) -> [(Resource, u64); 3] {
        let (memory, cpu_seconds) = match self {
            Self::ReadPdf => ((Resource::As, 768 * MIB), 20),
            Self::ReadPage => ((Resource::Data, 256 * MIB), 2),
            Self::RenderPrompt => ((Resource::Data, 160 * MIB), 2),
        };
        [memory, (Resource::Cpu, cpu_seconds), (Resource::Core, 0)]
    }

    const fn stack(self) -> usize {
        match self {
            Self::ReadPdf => PDF_STACK,
            Self::ReadPage | Self::RenderPrompt => STACK,
        }
    }

    fn perform(self) -> Option<()> {
        let input = std::io::stdin().lock();
        let output = match self {
            Self::ReadPdf | Self::ReadPage => read_document(input)?,
            Self::RenderPrompt => render_prompt(input)?,
        };
        write_output(&output)
    }
}

/// Does the job that the program's only argument requests. Reads from standard input and writes to
/// standard output. `None` if the argument is not the name of a job.
pub fn run_requested_job() -> Option<ExitCode> {
    run(requested_job()?, Job::perform)
}

/// As [`run_requested_job`], for a program that only renders prompts. It does not contain the code
/// that reads documents.
pub fn run_requested_prompt() -> Option<ExitCode> {
    let job = requested_job().filter(|job| *job == Job::RenderPrompt)?;
    run(job, |_| {
        write_output(&render_prompt(std::io::stdin().lock())?)
    })
}

fn requested_job() -> Option<Job> {
    let mut arguments = std::env::args().skip(1);
    let (name, end) = (arguments.next()?, arguments.next());
    Job::ALL
        .into_iter()
        .find(|job| end.is_none() && job.name() == name)
}

fn write_output(output: &[u8]) -> Option<()> {
    std::io::stdout().lock().write_all(output).ok()
}

fn run(job: Job, perform: fn(Job) -> Option<()>) -> Option<ExitCode> {
    if !job
        .limits()
        .into_iter()
        .all(|(resource, most)| is_limited(resource, most))
    {
        return Some(ExitCode::from(NOT_STARTED));
    }
    // If this fails, the work is done with the normal priority.
    let _ = nice(NICENESS);
    let Ok(worker) = std::thread::Builder::new()
        .stack_size(job.stack())
        .spawn(move || perform(job))
    else {
        return Some(ExitCode::from(NOT_STARTED));
    };
    let is_done = matches!(worker.join(), Ok(Some(())));
    Some(if is_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sets a limit, unless the process inherited a lower one. For processor time the hard limit is one
/// second higher: at the soft limit the kernel sends SIGXCPU, which ends the process and shows the
/// parent the reason.
fn is_limited(resource: Resource, most: u64) -> bool {
    let inherited = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let current = most.min(inherited);
    let maximum = match resource {
        Resource::Cpu => (most + 1).min(inherited),
        _ => current,
    };
    setrlimit(
        resource,
        Rlimit {
            current: Some(current),
            maximum: Some(maximum),
        },
    )
    .is_ok()
}

fn read_document(mut input: impl std::io::BufRead) -> Option<Vec<u8>> {
    let mut header = Vec::new();
    input
        .by_ref()
        .take(MAX_HEADER_BYTES)
        .read_until(b'\n', &mut header)
        .ok()?;
    let DocumentHeader { format, charset } = serde_json::from_slice(&header).ok()?;
    let mut bytes = Vec::new();
    input
        .take(MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    serde_json::to_vec(&sources::read_document(&bytes, format, charset.as_deref())).ok()
}

fn render_prompt(input: impl std::io::Read) -> Option<Vec<u8>> {
    let mut prompt = Vec::new();
    input.take(MAX_PROMPT_BYTES).read_to_end(&mut prompt).ok()?;
    let prompt: Prompt<'_> = serde_json::from_slice(&prompt).ok()?;
    serde_json::to_vec(&prompt.render()).ok()
}
