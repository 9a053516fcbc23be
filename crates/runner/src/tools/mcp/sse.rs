//! Reads server-sent events as browsers do: ignores unknown fields, repeated fields and comments.
//! Lines end with LF, CRLF or CR.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::collections::VecDeque;

use serde::de::IgnoredAny;
use sse_stream::Sse;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The shortest wait before a closed stream is resumed. A server that asks for none would get
/// requests without a pause.
const MIN_RETRY_MS: u64 = 100;

/// The caller limits the bytes of a stream.
#[derive(Default)]
pub(super) struct SseParser {
    line: Vec<u8>,
    event: Sse,
    is_after_cr: bool,
    is_started: bool,
}

impl SseParser {
    /// Appends the events that end in this chunk.
    pub(super) fn push(&mut self, mut chunk: &[u8], events: &mut VecDeque<Sse>) {
        if std::mem::take(&mut self.is_after_cr) {
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        while let Some(end) = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, rest) = chunk.split_at(end);
            self.line.extend_from_slice(line);
            self.end_line(events);
            chunk = match rest {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\r'] => {
                    self.is_after_cr = true;
                    &[]
                }
                [_, rest @ ..] => rest,
                [] => &[],
            };
        }
        self.line.extend_from_slice(chunk);
    }

    /// The last event, if only the empty line after it is missing. A part of an event is dropped,
    /// because a resumed stream repeats it.
    pub(super) fn finish(&mut self) -> Option<Sse> {
        if !self.line.is_empty() {
            self.end_line(&mut VecDeque::new());
        }
        let event = std::mem::take(&mut self.event);
        let is_whole = |data: &String| serde_json::from_str::<IgnoredAny>(data).is_ok();
        event.data.as_ref().is_some_and(is_whole).then_some(event)
    }

    fn end_line(&mut self, events: &mut VecDeque<Sse>) {
        let line = std::mem::take(&mut self.line);
        let mut text = &*line;
        if !std::mem::replace(&mut self.is_started, true) {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        if text.is_empty() {
            let event = std::mem::take(&mut self.event);
            if event != Sse::default() {
                events.push_back(event);
            }
            return;
        }
        let text = String::from_utf8_lossy(text);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.event.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.event.data = Some(value.to_owned()),
            },
            "event" => self.event.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "retry" => {
                if let Ok(milliseconds) = value.trim().parse() {
                    self.event.retry = Some(MIN_RETRY_MS.max(milliseconds));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(chunks: &[&[u8]]) -> Vec<Sse> {
        let (mut parser, mut events) = (SseParser::default(), VecDeque::new());
        for chunk in chunks {
            parser.push(chunk, &mut events);
        }
        events.extend(parser.finish());
        events.into()
    }

    fn data(data: &str) -> Sse {
        Sse::default().data(data)
    }

    #[test]
    fn events_are_read_however_they_are_written() {
        let whole = data("{}").id("1").event("message").retry(500);
        for (stream, expected) in [
            ("data: {}\n\n", vec![data("{}")]),
            (
                "data:{}\r\n\r\ndata: 1\r\rdata: 2\n\n",
                vec![data("{}"), data("1"), data("2")],
            ),
            ("\u{feff}data: {}\n\n", vec![data("{}")]),
            (
                ": comment\n:\n\n\ndata: {}\n: ping\ndata: []\n\n",
                vec![data("{}\n[]")],
            ),
            (
                "event: message\nid: 1\nretry: 500\ndata: {}\n\n",
                vec![whole.clone()],
            ),
            // Each of these was an error that ended the stream.
            (
                "event: a\nevent: message\nid: 0\nid: 1\nretry: x\nretry: 500\nfoo: 1\nbar\ndata: {}\n\n",
                vec![whole],
            ),
            ("id: 1\ndata:\n\n", vec![data("").id("1")]),
            ("data: {}", vec![data("{}")]),
            ("data: {}\n", vec![data("{}")]),
            ("id: 1\ndata: {\"a\": \n", vec![]),
            ("id: 1\n", vec![]),
        ] {
            assert_eq!(parse(&[stream.as_bytes()]), expected, "{stream:?}");
            let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            assert_eq!(parse(&bytes), expected, "{stream:?} byte by byte");
        }
        assert_eq!(parse(&[b"data: a\xffb\n\n"]), [data("a\u{fffd}b")]);
    }
}
