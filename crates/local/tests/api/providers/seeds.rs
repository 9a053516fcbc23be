//! Each provider has a reply from which the fuzzer starts (`tests/fuzz/fuzz_targets/answer.rs`).

use serde_json::{Value, json};

use crate::support::formats::{Call, Format, Says};

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/fuzz/corpus/answer"
);

#[test]
fn the_fuzzer_starts_from_a_reply_of_each_provider() {
    let says = Says {
        text: "Wait.".into(),
        thought: "Hm.",
        calls: vec![Call("c1", "search_sources", json!({ "query": "ship" }))],
        ..Says::default()
    };
    for format in Format::ALL {
        let (path, reply) = (
            format!("{FOLDER}/{}-scripted", format.provider()),
            format.reply(&says),
        );
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            std::fs::write(&path, reply.to_string()).unwrap();
        }
        let seed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            serde_json::from_str::<Value>(&seed).unwrap_or_default(),
            reply,
            "{path} is out of date: UPDATE_SEEDS=1 cargo test -p agent-webhooks --test api seeds"
        );
    }
}
