//! Lists all tools of a server, so that a person can choose some of them.

use domain::agent::tools::{McpTool, Tool as AgentTool};
use domain::{Fault, LeftOutTool, McpListing, McpToolInfo, ToolSpec, cut};
use rmcp::model::Tool;
use serde_json::{Map, Value};

use super::connect::{Connected, Listing, open_connection};
use super::repair::SkippedTool;
use super::{CLOSE_TIMEOUT, MAX_DESCRIPTION_BYTES, MAX_SCHEMA_BYTES, schema_bytes, text_to_scrub};
use crate::scrub::SecretScrubber;
use crate::tools::ToolContext;
use crate::tools::credentials::ToolCredentials;

/// Bytes of the descriptions and schemas of all tools. A Lambda function can return 6 MB.
const MAX_LISTING_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of a name. Longer ones cannot be allowed.
const MAX_NAME_BYTES: usize = 128;

/// Connects, lists the tools and disconnects.
pub(crate) async fn list_server_tools(
    context: ToolContext<'_>,
    tool: &McpTool,
) -> Result<McpListing, Fault> {
    let credentials = ToolCredentials::load(context, &AgentTool::Mcp(tool.clone())).await?;
    credentials.prepare(&tool.name).await?;
    let connected = open_connection(context, tool, &credentials, Listing::All).await?;
    let Connected {
        http,
        mut service,
        offered,
        is_cut,
    } = connected;
    let scrubber = context.run_secrets.scrubber();
    let peer = service.peer().peer_info();
    let about = peer.as_ref().and_then(|peer| peer.server_info.as_ref());
    let text = |text: &str| cut(&scrubber.scrub(&cut(text, MAX_NAME_BYTES)), MAX_NAME_BYTES);
    let mut listing = McpListing {
        server_name: about.map(|about| text(&about.name)).unwrap_or_default(),
        server_version: about.map(|about| text(&about.version)).unwrap_or_default(),
        is_cut,
        ..McpListing::default()
    };
    for SkippedTool { name, reason } in http.skipped_tools() {
        listing.left_out.push(left_out(&text(&name), reason));
    }
    add_tools(&mut listing, offered, &scrubber);
    let _ = service.close_with_timeout(CLOSE_TIMEOUT).await;
    Ok(listing)
}

fn add_tools(listing: &mut McpListing, offered: Vec<Tool>, scrubber: &SecretScrubber) {
    let mut bytes = 0;
    for tool in offered {
        let name = tool.name.to_string();
        if name.len() > MAX_NAME_BYTES {
            listing.left_out.push(left_out(
                &cut(&name, 64),
                "its name is longer than 128 bytes",
            ));
            continue;
        }
        let size = schema_bytes(&tool);
        if size > MAX_SCHEMA_BYTES {
            let reason = "its input schema is larger than 32 KiB";
            listing
                .left_out
                .push(left_out(&scrubber.scrub(&name), reason));
            continue;
        }
        let (beginning, end) = text_to_scrub(tool.description.as_deref().unwrap_or_default());
        let description = scrubber.scrub_part(beginning, end);
        let mut spec = ToolSpec {
            name: scrubber.scrub(&name).into_owned(),
            description: cut(&description, MAX_DESCRIPTION_BYTES),
            parameters: Value::Object(Map::clone(&tool.input_schema)),
        };
        scrubber.scrub_spec(&mut spec);
        bytes += size + spec.description.len() + name.len();
        if bytes > MAX_LISTING_BYTES {
            listing.is_cut = true;
            return;
        }
        listing.tools.push(McpToolInfo {
            name: spec.name,
            description: spec.description,
            input_schema: spec.parameters,
        });
    }
}

fn left_out(name: &str, reason: &str) -> LeftOutTool {
    LeftOutTool {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}
