//! The tools of an agent. Each kind of tool has a module that opens it and makes one call. This
//! file has all that depends on the kind.

mod call;
mod content;
mod context;
mod credentials;
mod document;
mod failed;
mod headers;
mod http;
mod mcp;
mod oauth;
mod response;
mod search;
mod toolbox;

use std::sync::Arc;

use domain::agent::tools::{ExposedNames, Tool};
use domain::{Fault, ToolSpec};

use call::{Arguments, CallError, ToolOutput};
pub(crate) use context::{Searched, ToolContext};
use credentials::ToolCredentials;
pub(crate) use document::download_document;
use http::{HttpOperation, HttpServer};
pub(crate) use mcp::list_server_tools;
use mcp::{McpOperation, McpServer};
pub use oauth::AccessTokens;
use search::SearchSources;
pub(crate) use toolbox::Toolbox;

/// A tool of the agent, ready for calls.
struct OpenTool<'a> {
    callables: Vec<(ToolSpec, Callable<'a>)>,
    /// To be closed after the run.
    connection: Option<Arc<McpServer<'a>>>,
}

/// A tool as the model sees it.
enum Callable<'a> {
    SearchSources(SearchSources<'a>),
    Http(HttpOperation<'a>),
    Mcp(McpOperation<'a>),
}

impl<'a> OpenTool<'a> {
    /// `names` are those of all tools of the agent.
    async fn open(
        tool: &'a Tool,
        context: ToolContext<'a>,
        names: &ExposedNames,
        credentials: ToolCredentials,
    ) -> Result<Self, Fault> {
        match tool {
            Tool::SearchSources {} => {
                let search = context.searched.map(SearchSources::new);
                let search = search.map(|it| (search::search_spec(), Callable::SearchSources(it)));
                Ok(Self {
                    callables: search.into_iter().collect(),
                    connection: None,
                })
            }
            Tool::Http(tool) => {
                credentials.prepare(&tool.name).await?;
                let server = HttpServer::new(context, tool, credentials);
                let operations = server.operations();
                let callables =
                    operations.map(|operation| (operation.spec(), Callable::Http(operation)));
                Ok(Self {
                    callables: callables.collect(),
                    connection: None,
                })
            }
            Tool::Mcp(tool) => {
                credentials.prepare(&tool.name).await?;
                let server = Box::pin(McpServer::open(context, tool, credentials)).await?;
                let callables = server.operations().map(|operation| {
                    let name = names.exposed_name(&tool.name, operation.name());
                    (operation.spec(name), Callable::Mcp(operation))
                });
                Ok(Self {
                    callables: callables.collect(),
                    connection: Some(server),
                })
            }
        }
    }
}

impl Callable<'_> {
    /// Makes one call. Its idempotency key is `key`.
    async fn call(&self, arguments: Arguments, key: &str) -> Result<ToolOutput, CallError> {
        match self {
            Self::SearchSources(search) => search.call(&arguments.fields).await,
            Self::Http(operation) => Box::pin(operation.call(arguments, key)).await,
            Self::Mcp(operation) => Box::pin(operation.call(arguments.fields, key)).await,
        }
    }

    /// Whether a person must approve a call.
    fn needs_approval(&self) -> bool {
        match self {
            Self::SearchSources(_) => false,
            Self::Http(operation) => operation.needs_approval(),
            Self::Mcp(operation) => operation.needs_approval(),
        }
    }
}
