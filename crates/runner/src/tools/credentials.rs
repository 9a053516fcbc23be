//! What authenticates the calls to a tool's server.

use domain::Fault;
use domain::agent::tools::Tool;

use super::ToolContext;
use super::headers::ToolHeaders;
use super::oauth::TokenSource;

#[derive(Default)]
pub(super) struct ToolCredentials {
    pub(super) headers: ToolHeaders,
    /// The source of a token for each call.
    pub(super) tokens: Option<TokenSource>,
}

impl ToolCredentials {
    /// Reads the secrets of a tool, and adds them to the secrets of the run.
    pub(super) async fn load(context: ToolContext<'_>, tool: &Tool) -> Result<Self, Fault> {
        let headers = match tool.headers() {
            Some(headers) => ToolHeaders::load(context, headers).await?,
            None => ToolHeaders::default(),
        };
        let tokens = TokenSource::load(context, tool).await?;
        Ok(Self { headers, tokens })
    }

    /// Gets the token of a tool before its first call.
    pub(super) async fn prepare(&self, tool: &str) -> Result<(), Fault> {
        if let Some(tokens) = &self.tokens {
            let token = Box::pin(tokens.token()).await;
            token.map_err(|failure| failure.to_fault(tool))?;
        }
        Ok(())
    }
}
