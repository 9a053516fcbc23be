//! An item of the agents table as DynamoDB hands it over, damaged in any way: the
//! last line is the item, all before the bytes of its definition or its salt.
#![no_main]

use std::time::Duration;

use domain::WebhookToken;
use fuzz::{AGENT, Dynamo, Item, NOW, block_on};
use libfuzzer_sys::fuzz_target;
use store::Agents;

fuzz_target!(|input: &[u8]| {
    let Some(item) = Item::read(input) else {
        return;
    };
    let agents = Agents::new(&Dynamo::holding(Some(item)).aws(), "agents", Duration::ZERO);
    let hash = WebhookToken::parse("0123456789abcdef").unwrap().hash();
    block_on(async {
        if let Ok(Some(token)) = agents.by_token(&hash, NOW).await {
            assert!(
                token.enabled && token.until.is_none_or(|until| NOW < until),
                "a dead token works"
            );
        }
        let alone = agents.get(AGENT).await;
        let listed = agents.list().await;
        assert_eq!(alone.is_ok(), listed.is_ok());
        if let Ok(Some(record)) = alone {
            let _ = serde_json::to_vec(record.agent.definition()).unwrap();
        }
    });
});
