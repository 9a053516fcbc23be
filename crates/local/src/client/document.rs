//! Reads an OpenAPI document from a file, a URL or standard input.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use reqwest::redirect::Policy;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use url::{Host, Url};

use super::ClientError;

/// The largest public documents have about 40 MB.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 5;

/// A document, and the URL that it was read from.
pub(super) struct ApiDocument {
    pub(super) value: Value,
    pub(super) url: Option<String>,
}

/// Reads JSON or YAML. `source` is a file, a URL, or `-` for standard input.
pub(super) async fn read_document(source: &str) -> Result<ApiDocument, ClientError> {
    let (bytes, url) = match Url::parse(source) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {
            let (bytes, url) = download(url).await?;
            (bytes, Some(url.to_string()))
        }
        _ => (read_local(source)?, None),
    };
    let text = String::from_utf8(bytes).map_err(|_| ClientError::Document {
        file: source.to_owned(),
        reason: "is not UTF-8; save it as UTF-8".to_owned(),
    })?;
    let text = text.trim_start_matches('\u{feff}');
    Ok(ApiDocument {
        value: parse_document(text, source)?,
        url,
    })
}

/// YAML includes JSON, but the JSON parser is much faster.
fn parse_document(text: &str, what: &str) -> Result<Value, ClientError> {
    if let Ok(document) = serde_json::from_str(text) {
        return Ok(document);
    }
    let document: YamlValue =
        yaml_serde::from_str(text).map_err(|source| ClientError::NotYaml {
            what: what.to_owned(),
            source,
        })?;
    Ok(document.0)
}

fn read_local(source: &str) -> Result<Vec<u8>, ClientError> {
    let what = || match source {
        "-" => "standard input".to_owned(),
        file => file.to_owned(),
    };
    let failed = |error| ClientError::Read {
        what: what(),
        source: error,
    };
    let mut bytes = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    match source {
        "-" => std::io::stdin().take(most).read_to_end(&mut bytes),
        file => {
            let file = std::fs::File::open(file).map_err(failed)?;
            file.take(most).read_to_end(&mut bytes)
        }
    }
    .map_err(failed)?;
    match bytes.len() > MAX_BYTES {
        true => Err(too_large(&what())),
        false => Ok(bytes),
    }
}

fn too_large(what: &str) -> ClientError {
    ClientError::Document {
        file: what.to_owned(),
        reason: "is larger than 64 MiB; keep only the operations that the agent needs".to_owned(),
    }
}

/// Whether a document may be read from this URL. Others could be changed on their way.
fn is_trusted(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

/// Returns the document and the URL after redirects.
async fn download(url: Url) -> Result<(Vec<u8>, Url), ClientError> {
    if !is_trusted(&url) {
        return Err(ClientError::Usage(
            "--openapi with a URL needs https, or http on this machine; download the document first and pass the file",
        ));
    }
    let what = url.to_string();
    let failed = |source: reqwest::Error| ClientError::Download {
        url: what.clone(),
        source: source.without_url(),
    };
    let redirects = Policy::custom(|attempt| {
        match attempt.previous().len() <= MAX_REDIRECTS && is_trusted(attempt.url()) {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    });
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(redirects)
        .build();
    let call = client.map_err(failed)?.get(url);
    let mut response = call.send().await.map_err(failed)?;
    if !response.status().is_success() {
        let status = response.status();
        return Err(ClientError::Document {
            file: what,
            reason: format!(
                "the server answered {status}; download the document and pass the file"
            ),
        });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(too_large(&what));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, response.url().clone()))
}

/// A YAML value as JSON. Integers of more than 64 bits become floats, as in JSON, and `<<`
/// merges a mapping.
struct YamlValue(Value);

impl<'de> Deserialize<'de> for YamlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor).map(Self)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "JSON has the nearest float, too"
    )]
    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok((number as f64).into())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "JSON has the nearest float, too"
    )]
    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok((number as f64).into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(YamlValue(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut fields, mut merged) = (Map::new(), Vec::new());
        while let Some((name, YamlValue(value))) = map.next_entry::<String, YamlValue>()? {
            match value {
                Value::Object(other) if name == "<<" => merged.push(other),
                Value::Array(others) if name == "<<" => {
                    merged.extend(others.into_iter().filter_map(|other| match other {
                        Value::Object(other) => Some(other),
                        _ => None,
                    }));
                }
                value => {
                    fields.insert(name, value);
                }
            }
        }
        for (name, value) in merged.into_iter().flatten() {
            fields.entry(name).or_insert(value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_read_as_its_json() {
        for (yaml, expected) in [
            (
                "min: -9223372036854776000\nmax: 18446744073709551616000\nnear: 9223372036854776000",
                json!({ "min": -9_223_372_036_854_776_000.0_f64, "max": 1.844_674_407_370_955_2e22,
                    "near": 9_223_372_036_854_776_000_u64 }),
            ),
            (
                "huge: 99999999999999999999999999999999999999999999",
                json!({ "huge": 1e44 }),
            ),
            (
                "200: {on: yes, date: 2020-01-01}",
                json!({ "200": { "on": "yes", "date": "2020-01-01" } }),
            ),
            (
                "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3",
                json!({ "a": { "x": 1, "y": 2 }, "b": { "y": 3, "x": 1 } }),
            ),
            (
                "n: ~\nf: 1.50\ni: .inf\nl: [true, 'x']",
                json!({ "n": null, "f": 1.5, "i": null, "l": [true, "x"] }),
            ),
        ] {
            assert_eq!(parse_document(yaml, "x").unwrap(), expected, "{yaml}");
        }
        assert!(parse_document("a: [", "x").is_err());
    }

    #[test]
    fn documents_are_read_from_https_or_this_machine() {
        for (url, expected) in [
            ("https://api.example/openapi.json", true),
            ("http://127.0.0.1:8000/openapi.json", true),
            ("http://localhost/openapi.json", true),
            ("http://[::1]/x", true),
            ("http://api.example/openapi.json", false),
            ("http://127.0.0.1.example/x", false),
        ] {
            assert_eq!(is_trusted(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
