//! Work on untrusted input in a subprocess that is bounded in memory and time.
//!
//! A PDF can unpack a thousandfold, a page can have a tag with a million attributes, and a
//! prompt can multiply a payload of one megabyte into terabytes. The program starts itself
//! once more for such work. A subprocess that exceeds its bounds ends alone, and a caller who
//! stops waiting ends it.
//!
//! | job | memory | processor time | wall time | at once |
//! | --- | --- | --- | --- | --- |
//! | read a PDF | 768 MiB of address space | 20 s | 15 s | two |
//! | read a page | 256 MiB of data | 2 s | 10 s | two |
//! | render a prompt | 160 MiB of data | 2 s | 10 s | [`Subprocesses::new`], and one of each agent |
//!
//! Subprocesses run at a lower priority than the program, so that requests are answered
//! meanwhile.

mod child;
mod parent;
mod per_agent;

use std::path::PathBuf;
use std::sync::Arc;

use domain::{AgentId, Prompt, PromptError};
use sources::{Format, ReadError, Reading};
use tokio::sync::Semaphore;

pub use child::run_requested_job;
pub use per_agent::PerAgent;

/// Starts subprocesses of one program.
#[derive(Clone, Debug)]
pub struct Subprocesses {
    program: Arc<PathBuf>,
    prompt_slots: Arc<Semaphore>,
    prompts_of_agents: PerAgent,
}

/// Why there is no rendered prompt.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The prompt cannot be rendered over this payload.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The subprocess was ended.
    #[error(
        "the prompt takes more than 2 seconds of processor time or more than 160 MiB of memory over this \
         payload; use fewer or smaller loops, and filters on smaller values"
    )]
    OverLimit,
    /// The system failed.
    #[error("failed to run the subprocess that renders prompts")]
    System(#[source] std::io::Error),
}

/// Why there is no text of a document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The document cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// The system failed.
    #[error("failed to run the subprocess that reads documents")]
    System(#[source] std::io::Error),
}

/// The running program's own file, also after an update has replaced it.
pub fn this_program() -> PathBuf {
    #[cfg(target_os = "linux")]
    return PathBuf::from("/proc/self/exe");
    #[cfg(not(target_os = "linux"))]
    return std::env::current_exe().unwrap_or_default();
}

impl Subprocesses {
    /// Of `program`, the running program's own file, which calls [`run_requested_job`] before
    /// anything else. At most `prompts_at_once` subprocesses render prompts at a time, one of
    /// each agent: the prompts of an agent wait for each other before they wait for others.
    pub fn new(program: PathBuf, prompts_at_once: usize) -> Self {
        Self {
            program: Arc::new(program),
            prompt_slots: Arc::new(Semaphore::new(prompts_at_once)),
            prompts_of_agents: PerAgent::new(1),
        }
    }

    /// Renders an agent's prompt: in this process if it is plain, off the async workers, and in a
    /// subprocess otherwise.
    pub async fn render_prompt(&self, agent: AgentId, prompt: Prompt<'_>) -> Result<String, RenderError> {
        if prompt.is_plain() {
            let prompt = prompt.into_owned();
            let rendering = tokio::task::spawn_blocking(move || prompt.render());
            return Ok(rendering.await.map_err(|error| RenderError::System(error.into()))??);
        }
        let _turn = self.prompts_of_agents.acquire(agent).await;
        parent::render_prompt(self, &prompt).await
    }

    /// Reads a document: text in this process, which costs no more than its bytes, and
    /// everything else in a subprocess.
    pub async fn read_document(
        &self,
        bytes: impl AsRef<[u8]> + Send + 'static,
        format: Format,
        charset: Option<String>,
    ) -> Result<Reading, DocumentError> {
        if format == Format::Text {
            let reading = tokio::task::spawn_blocking(move || {
                sources::read(bytes.as_ref(), format, charset.as_deref())
            });
            return Ok(reading.await.map_err(|error| DocumentError::System(error.into()))??);
        }
        parent::read_document(self, bytes.as_ref(), format, charset.as_deref()).await
    }
}
