//! Turns the result of an MCP tool into text.

use domain::cut;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

use super::stream::MAX_MESSAGE_BYTES;
use crate::scrub::SecretScrubber;
use crate::tools::response::cut_at;

/// The result as text, or the tool's error as text.
pub(super) fn result_text(
    result: &CallToolResult,
    most: usize,
    scrubber: &SecretScrubber,
) -> Result<String, String> {
    let blocks: Vec<String> = result
        .content
        .iter()
        .map(|block| block_text(block, scrubber))
        .collect();
    let text = match (&result.structured_content, blocks.is_empty()) {
        (Some(json), true) => json.to_string(),
        (None, true) => "The tool returned nothing.".to_owned(),
        (_, false) => blocks.join("\n"),
    };
    let text = cut_at(scrubber.scrub(&text).into_owned(), most);
    if result.is_error == Some(true) {
        Err(text)
    } else {
        Ok(text)
    }
}

/// The approximate length as text. The maximum if the result has more than plain texts.
pub(super) fn estimate_bytes(result: &CallToolResult) -> usize {
    let texts = result
        .content
        .iter()
        .map(|block| block.as_text().map(|text| text.text.len()));
    match (&result.structured_content, texts.sum::<Option<usize>>()) {
        (None, Some(bytes)) => bytes,
        _ => MAX_MESSAGE_BYTES,
    }
}

/// Returns text unchanged, and a description of all other content.
fn block_text(block: &ContentBlock, scrubber: &SecretScrubber) -> String {
    let cut = |text: &str, most| cut(&scrubber.scrub(text), most);
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => format!("[an image, {}]", cut(&image.mime_type, 100)),
        ContentBlock::Audio(audio) => format!("[audio, {}]", cut(&audio.mime_type, 100)),
        ContentBlock::ResourceLink(link) => {
            format!(
                "[a link to {}: {}]",
                cut(&link.name, 200),
                cut(&link.uri, 1000)
            )
        }
        ContentBlock::Resource(resource) => match &resource.resource {
            ResourceContents::TextResourceContents { text, .. } => text.clone(),
            ResourceContents::BlobResourceContents { mime_type, .. } => {
                format!(
                    "[a file, {}]",
                    cut(mime_type.as_deref().unwrap_or("of unknown type"), 100)
                )
            }
            _ => "[a resource]".to_owned(),
        },
        _ => "[content that is not text]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn result(json: Value) -> CallToolResult {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn text_is_unchanged_and_other_content_is_described() {
        let content = json!([
            { "type": "text", "text": "It is noon." },
            { "type": "image", "data": "AAAA", "mimeType": "image/png" },
            { "type": "audio", "data": "AAAA", "mimeType": "audio/wav" },
            { "type": "resource_link", "uri": "https://a.example/x", "name": "x" },
            { "type": "resource", "resource": { "uri": "file:///a", "text": "inner" } },
            { "type": "resource", "resource": { "uri": "file:///b", "blob": "AAAA", "mimeType": "image/gif" } },
        ]);
        let text = result_text(
            &result(json!({ "content": content })),
            1000,
            &SecretScrubber::default(),
        )
        .unwrap();
        assert_eq!(
            text,
            "It is noon.\n[an image, image/png]\n[audio, audio/wav]\n[a link to x: https://a.example/x]\ninner\n[a file, image/gif]"
        );
    }

    #[test]
    fn a_result_is_cut_between_characters_and_an_error_stays_an_error() {
        let long = json!({ "content": [{ "type": "text", "text": "aäb" }], "isError": true });
        assert_eq!(
            result_text(&result(long), 2, &SecretScrubber::default()),
            Err("a… [cut at 2 bytes]".into())
        );
        let structured = json!({ "content": [], "structuredContent": { "a": 1 } });
        assert_eq!(
            result_text(&result(structured), 100, &SecretScrubber::default()),
            Ok("{\"a\":1}".into())
        );
        assert_eq!(
            result_text(
                &result(json!({ "content": [] })),
                100,
                &SecretScrubber::default()
            ),
            Ok("The tool returned nothing.".into())
        );
    }
}
