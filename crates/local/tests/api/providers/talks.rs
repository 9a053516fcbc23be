//! The requests to a model that works as documented, and its responses.

use serde_json::{Value, json};

use super::{PAYLOAD, Site, says, search, searcher, wants};
use crate::support::Reply;
use crate::support::formats::{Call, INPUT_TOKENS, OUTPUT_TOKENS, Says};

#[tokio::test]
async fn the_prompt_the_payload_the_limit_and_the_key_reach_the_server_and_its_answer_the_caller() {
    for site in Site::each(|_| {
        Reply::Says(Says {
            thought: "Let me see.",
            ..says("Done.")
        })
    })
    .await
    {
        let definition = json!({
            "prompt": "Handle order {{ payload.order }}.", "limits": { "max_output_tokens": 77 },
        });
        let ended = site.run(definition).await;
        assert_eq!(ended["status"], "SUCCESS", "{:?}: {ended}", site.format);
        let result = &ended["result"]["result"];
        assert_eq!(
            (&result["answer"], &result["thought"]),
            (&json!("Done."), &json!("Let me see."))
        );
        let usage = json!({
            "model": site.format.name(), "turns": 1, "input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS,
        });
        assert_eq!(ended["usage"], usage, "{:?}", site.format);

        let asked = site.model.asked().pop().unwrap();
        assert_eq!(
            (asked.system(), asked.user()),
            ("Handle order 4711.", PAYLOAD)
        );
        assert_eq!(site.format.max_tokens(&asked.body), 77);
        assert_eq!(asked.headers["content-type"], "application/json");
        assert_eq!(site.format.tools(&asked.body), []);
        site.format.check_request(&asked);
    }
}

#[tokio::test]
async fn the_calls_of_a_turn_are_all_made_and_their_results_sent_in_order() {
    let script = |call| {
        Reply::Says(match call {
            0 => Says {
                text: "I look it up.".into(),
                ..wants([
                    search("c1", "returned"),
                    search("c2", "ship"),
                    search("c3", "nothing of that"),
                ])
            },
            _ => says("Within 30 days."),
        })
    };
    for site in Site::each(script).await {
        let ended = site.run(searcher()).await;
        assert_eq!(ended["status"], "SUCCESS", "{:?}: {ended}", site.format);
        assert_eq!(ended["usage"]["turns"], 2);
        assert_eq!(ended["usage"]["input_tokens"], 2 * INPUT_TOKENS);
        let result = &ended["result"]["result"];
        assert_eq!(result["answer"], "Within 30 days.");
        let ids: Vec<&Value> = result["tool_calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| &call["call_id"])
            .collect();
        assert_eq!(ids, ["c1", "c2", "c3"]);

        let (first, second) = (site.body(0), site.body(1));
        let tools = site.format.tools(&first);
        assert_eq!((tools.len(), tools[0].0), (1, "search_sources"));
        assert_eq!(tools[0].1["required"], json!(["query"]));
        let results = site.format.results(&second);
        let found: Vec<(&str, bool)> = results
            .iter()
            .map(|result| (result.call.as_str(), result.text.contains("days")))
            .collect();
        assert_eq!(
            found,
            [("c1", true), ("c2", true), ("c3", false)],
            "{:?}",
            site.format
        );
        assert!(results.iter().all(|result| !result.is_error));
        // The model's own turn is between them, unchanged.
        let said = &site.format.messages(&second)[1];
        assert_eq!(said["role"], site.format.roles().0);
        assert!(
            said.to_string().contains("I look it up.") && said.to_string().contains("returned")
        );
    }
}

#[tokio::test]
async fn a_call_that_cannot_be_made_is_returned_to_the_model_as_an_error() {
    let script = |call| {
        Reply::Says(match call {
            0 => wants([
                Call("c1", "refund", json!({})),
                Call("c2", "search_sources", json!("{\"query")),
                Call("c3", "search_sources", json!({ "query": 7 })),
                Call("c4", "search_sources", json!([1])),
                search("c5", "ship"),
            ]),
            _ => says("I could do one of them."),
        })
    };
    let wrong = [
        "Unknown tool `refund`",
        "not a JSON object",
        "`query` must be",
        "not a JSON object",
    ];
    for site in Site::each(script).await {
        let ended = site.run(searcher()).await;
        assert_eq!(ended["status"], "SUCCESS", "{:?}: {ended}", site.format);
        let results = site.format.results(&site.body(1));
        for (result, says) in results.iter().zip(wrong) {
            assert!(result.text.contains(says), "{:?}: {result:?}", site.format);
            assert_eq!(result.is_error, site.format.marks_errors(), "{result:?}");
        }
        assert!(results[4].text.contains("two days"), "{results:?}");
        let calls = ended["result"]["result"]["tool_calls"].as_array().unwrap();
        let status: Vec<&Value> = calls.iter().map(|call| &call["status"]).collect();
        assert_eq!(status, ["error", "error", "error", "error", "ok"]);
    }
}

/// The provider refuses signed reasoning that was changed, moved or left out.
#[tokio::test]
async fn reasoning_that_led_to_calls_is_sent_back_unchanged() {
    let thinking = |calls| Says {
        thought: "It may be in there.",
        text: "Wait.".into(),
        ..calls
    };
    let script = move |call| {
        Reply::Says(match call {
            0 => thinking(wants([search("c1", "ship")])),
            _ => says("Two days."),
        })
    };
    for site in Site::each(script).await {
        let ended = site.run(searcher()).await;
        assert_eq!(
            ended["result"]["result"]["thought"], "It may be in there.",
            "{ended}"
        );
        let second = site.body(1);
        let said = &site.format.messages(&second)[1];
        let came = site.format.reply(&thinking(wants([search("c1", "ship")])));
        site.format.check_echo(said, &came);
    }
}
