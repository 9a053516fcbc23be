//! A model's server that answers at once, or only when the test allows it.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::wire::{Connection, message};

const ANSWER: &str = r#"{"id":"1","object":"chat.completion","created":0,"model":"instant","choices":[{"index":0,"message":{"role":"assistant","content":"done"},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":1,"total_tokens":21}}"#;

/// Supports OpenAI's format.
pub(crate) struct Model {
    pub(crate) url: String,
    answers: watch::Sender<bool>,
    answered: watch::Sender<usize>,
}

impl Model {
    /// One that lets its callers wait until [`Self::open`].
    pub(crate) async fn shut() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let model = Self {
            url,
            answers: watch::Sender::new(false),
            answered: watch::Sender::new(0),
        };
        let (answers, answered) = (model.answers.clone(), model.answered.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, answers.subscribe(), answered.clone()));
            }
        });
        Ok(model)
    }

    pub(crate) fn open(&self) {
        self.answers.send_replace(true);
    }

    /// Waits until so many were answered.
    pub(crate) async fn has_answered(&self, wanted: usize) {
        // The sender is `self`.
        let _ = self
            .answered
            .subscribe()
            .wait_for(|answered| *answered >= wanted)
            .await;
    }

    pub(crate) fn answered(&self) -> usize {
        *self.answered.borrow()
    }
}

/// Ends with the connection.
async fn converse(
    stream: TcpStream,
    mut may_answer: watch::Receiver<bool>,
    answered: watch::Sender<usize>,
) -> std::io::Result<()> {
    let answer = message("HTTP/1.1 200 OK", "", ANSWER);
    let mut connection = Connection::over(stream)?;
    while connection.hear().await? {
        let _ = may_answer.wait_for(|may| *may).await;
        connection.say(&answer).await?;
        answered.send_modify(|answered| *answered += 1);
    }
    Ok(())
}
