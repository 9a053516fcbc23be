//! A query string or a form: untrusted percent-encoding.
#![no_main]

use std::collections::HashMap;

use domain::Payload;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|query: &[u8]| {
    let payload = Payload::from_form(query);
    let json = payload.as_json();
    assert_eq!(
        Payload::from_json(json.as_bytes()).as_ref(),
        Ok(&payload),
        "no payload itself"
    );
    let fields: HashMap<String, Value> = serde_json::from_str(json).unwrap();
    let values: usize = fields.values().map(values_of).sum();
    assert_eq!(
        values,
        query
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
            .count()
    );
    let _ = payload.words();
});

/// A name given once has a string; one given several times has an array of them.
fn values_of(field: &Value) -> usize {
    match field {
        Value::String(_) => 1,
        Value::Array(values) => {
            assert!(values.len() > 1 && values.iter().all(Value::is_string));
            values.len()
        }
        other => panic!("a field became {other}"),
    }
}
