//! Converts JSON and JSON Lines to lines such as `items[0].name: Returns`.

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{DocumentText, MAX_TEXT_BYTES, ReadError};

const MAX_DEPTH: usize = 100;

/// Values that follow each other are documents of their own, as in JSON Lines. Numbers keep all
/// their digits.
pub(super) fn json_to_text(text: &str) -> Result<DocumentText, ReadError> {
    let mut lines = LineWriter::default();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(|error| syntax(&error))?;
        lines.start_record();
        lines.value(value.get())?;
    }
    Ok(DocumentText {
        title: None,
        text: lines.text,
    })
}

fn syntax(error: &serde_json::Error) -> ReadError {
    ReadError::Syntax("JSON".to_owned(), error.to_string())
}

#[derive(Default)]
struct LineWriter {
    text: String,
    /// Of the current value.
    path: String,
    depth: usize,
    /// Why the document is refused. The parser only reports that it was stopped.
    refusal: Option<ReadError>,
}

impl LineWriter {
    fn value(&mut self, raw: &str) -> Result<(), ReadError> {
        let mut json = serde_json::Deserializer::from_str(raw);
        let read = match raw.as_bytes().first() {
            Some(b'{') => json.deserialize_map(ItemsVisitor(self)),
            Some(b'[') => json.deserialize_seq(ItemsVisitor(self)),
            Some(b'"') => {
                // A lone surrogate is not Unicode: such a text is unchanged.
                let text = serde_json::from_str::<String>(raw);
                self.leaf(&text.unwrap_or_else(|_| raw.trim_matches('"').to_owned()));
                Ok(())
            }
            _ => {
                self.leaf(raw);
                Ok(())
            }
        };
        match self.refusal.take() {
            Some(refusal) => Err(refusal),
            None => read.map_err(|error| syntax(&error)),
        }
    }

    fn leaf(&mut self, value: &str) {
        if !self.path.is_empty() {
            self.text.push_str(&self.path);
            self.text.push_str(": ");
        }
        self.text.push_str(value);
        self.text.push('\n');
    }

    /// Separates the objects of a list, so that a passage has whole objects.
    fn start_record(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Writes an item under its name. Returns whether to continue.
    fn item(&mut self, name: &str, raw: &str) -> bool {
        let before = self.path.len();
        self.path.push_str(name);
        self.depth += 1;
        let written = if self.depth > MAX_DEPTH {
            Err(ReadError::TooDeep)
        } else if self.text.len() + self.path.len() > MAX_TEXT_BYTES {
            Err(ReadError::TooMuchText)
        } else {
            self.value(raw)
        };
        self.depth -= 1;
        self.path.truncate(before);
        match written {
            Ok(()) => true,
            Err(refusal) => {
                self.refusal = Some(refusal);
                false
            }
        }
    }
}

/// Reads the items of an object or a list one by one.
struct ItemsVisitor<'a>(&'a mut LineWriter);

impl<'de> Visitor<'de> for ItemsVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(name) = items.next_key::<String>()? {
            let raw: &RawValue = items.next_value()?;
            let name = if self.0.path.is_empty() {
                name
            } else {
                format!(".{name}")
            };
            if !self.0.item(&name, raw.get()) {
                return Err(serde::de::Error::custom("refused"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0_usize;
        while let Some(raw) = items.next_element::<&RawValue>()? {
            if raw.get().starts_with(['{', '[']) {
                self.0.start_record();
            }
            if !self.0.item(&format!("[{index}]"), raw.get()) {
                return Err(serde::de::Error::custom("refused"));
            }
            index += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        json_to_text(json).unwrap().text
    }

    #[test]
    fn each_value_is_a_line_with_its_path() {
        assert_eq!(
            text(r#"{"refund":"fourteen days"}"#),
            "refund: fourteen days\n"
        );
        assert_eq!(
            text(r#"{"a":{"b":[1,"x\ny",null]},"n":12000000000000000000001,"e":{}}"#),
            "a.b[0]: 1\na.b[1]: x\ny\na.b[2]: null\nn: 12000000000000000000001\n"
        );
        assert_eq!(
            text(r#"[{"sku":"A1","p":4},{"sku":"B2","p":5}]"#),
            "[0].sku: A1\n[0].p: 4\n\n[1].sku: B2\n[1].p: 5\n"
        );
        assert_eq!(text(r#""only""#), "only\n");
        assert_eq!(text(r#"{"a":"\ud800x"}"#), "a: \\ud800x\n");
    }

    #[test]
    fn json_lines_are_records() {
        assert_eq!(text("{\"q\":\"a\"}\n{\"q\":\"b\"}\n"), "q: a\n\nq: b\n");
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let refused = json_to_text("{\"a\": 1,\n // no\n}")
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("JSON") && refused.contains("line 2"),
            "{refused}"
        );
        assert!(json_to_text("{\"q\":1}\n{\"q\":").is_err());
    }

    #[test]
    fn deep_and_multiplying_documents_are_refused() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(json_to_text(&deep), Err(ReadError::TooDeep));
        let wide = format!("{{\"{}\":[{}1]}}", "k".repeat(100_000), "1,".repeat(10_000));
        assert_eq!(json_to_text(&wide), Err(ReadError::TooMuchText));
    }
}
