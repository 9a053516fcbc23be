//! Work on untrusted input in a subprocess that is bounded in memory and time.
//!
//! A PDF or a Word document can expand a thousandfold, a page can have a tag with a million attributes, and a prompt
//! can multiply a payload of one megabyte into terabytes. For such work the program starts itself
//! as a subprocess. A subprocess that exceeds its limits ends without affecting the program. If
//! the caller stops waiting, the subprocess is killed.
//!
//! | job | memory | processor time | wall time | concurrency |
//! | --- | --- | --- | --- | --- |
//! | read a PDF | 768 MiB of address space | 20 s | 15 s | two |
//! | read any other document | 256 MiB of data | 2 s | 10 s | two |
//! | render a prompt | 160 MiB of data | 2 s | 10 s | see [`Subprocesses::new`], and one per agent |
//!
//! Subprocesses run with a lower priority than the program, so that they do not delay requests.

mod child;
mod parent;
mod per_agent;

use std::path::PathBuf;
use std::sync::Arc;

use domain::{AgentId, Prompt, PromptError};
use sources::{DocumentFormat, DocumentText, ReadError};
use tokio::sync::Semaphore;

pub use child::{run_requested_job, run_requested_prompt};
pub use per_agent::PerAgent;

/// Starts subprocesses of one program.
#[derive(Clone, Debug)]
pub struct Subprocesses {
    program: Arc<PathBuf>,
    prompt_slots: Arc<Semaphore>,
    prompts_of_agents: PerAgent,
}

/// Why a prompt was not rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The subprocess exceeded a limit.
    #[error(
        "the prompt needs more than 2 seconds of processor time or more than 160 MiB of memory for this \
         payload; use fewer or smaller loops, and filters on smaller values"
    )]
    OverLimit,
    #[error("failed to run the subprocess that renders prompts")]
    System(#[source] std::io::Error),
}

/// Why a document was not read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    #[error("failed to run the subprocess that reads documents")]
    System(#[source] std::io::Error),
}

/// The file of the running program, even after an update has replaced it.
pub fn this_program() -> PathBuf {
    #[cfg(target_os = "linux")]
    return PathBuf::from("/proc/self/exe");
    #[cfg(not(target_os = "linux"))]
    return std::env::current_exe().unwrap_or_default();
}

impl Subprocesses {
    /// `program` is the file of the running program, which must call [`run_requested_job`] first.
    /// At most `prompts_at_once` subprocesses render prompts at the same time, and at most one per
    /// agent. Prompts of an agent wait for each other before they wait for those of other agents.
    pub fn new(program: PathBuf, prompts_at_once: usize) -> Self {
        Self {
            program: Arc::new(program),
            prompt_slots: Arc::new(Semaphore::new(prompts_at_once)),
            prompts_of_agents: PerAgent::new(1),
        }
    }

    /// Renders an agent's prompt. A plain prompt is rendered in this process, on a blocking thread,
    /// any other prompt in a subprocess.
    pub async fn render_prompt(
        &self,
        agent: AgentId,
        prompt: Prompt<'_>,
    ) -> Result<String, RenderError> {
        if prompt.is_plain() {
            let prompt = prompt.into_owned();
            let rendering = tokio::task::spawn_blocking(move || prompt.render());
            return Ok(rendering
                .await
                .map_err(|error| RenderError::System(error.into()))??);
        }
        let _turn = self.prompts_of_agents.acquire(agent).await;
        parent::render_prompt(self, &prompt).await
    }

    /// Reads a document. Plain text is read in this process, because the cost is proportional to
    /// its size. Other formats are read in a subprocess.
    pub async fn read_document(
        &self,
        bytes: impl AsRef<[u8]> + Send + 'static,
        format: DocumentFormat,
        charset: Option<String>,
    ) -> Result<DocumentText, DocumentError> {
        if format == DocumentFormat::Text {
            let reading = tokio::task::spawn_blocking(move || {
                sources::read_document(bytes.as_ref(), format, charset.as_deref())
            });
            return Ok(reading
                .await
                .map_err(|error| DocumentError::System(error.into()))??);
        }
        parent::read_document(self, bytes.as_ref(), format, charset.as_deref()).await
    }
}
