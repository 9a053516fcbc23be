//! Every provider, over HTTP. Each case runs once for each wire format, against a fake
//! server of that format. It checks the requests and how the task ended.

mod failures;
mod refused;
mod replies;
mod schemas;
mod seeds;
mod settings;
mod talks;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::formats::{Call, Format, Says};
use crate::support::functions::bedrock;
use crate::support::{Agent, FakeModel, Reply, World};

const PAYLOAD: &str = r#"{"order":4711,"note":"the zebra arrived"}"#;
const SHOP: &str =
    "Goods can be returned within 30 days.\n\n# Shipping\n\nOrders ship within two days.";

/// A server whose agents call a model in one format.
struct Site {
    world: World,
    format: Format,
    model: FakeModel,
}

impl Site {
    /// One for each format, all with the same script.
    async fn each(script: impl Fn(usize) -> Reply + Clone + Send + Sync + 'static) -> Vec<Self> {
        join_all(Format::ALL.map(|format| Self::open(format, script.clone()))).await
    }

    async fn open(format: Format, script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let model = FakeModel::start(move |call, _| script(call)).await;
        let bedrock = bedrock(&model.origin);
        let world = World::start_with(|settings| settings.bedrock = bedrock).await;
        Self {
            world,
            format,
            model,
        }
    }

    async fn agent(&self, mut definition: Value) -> Agent {
        definition["model"] = self.format.model(&self.model.origin);
        self.world.agent_as(definition).await
    }

    /// How a task of such an agent ends.
    async fn run(&self, definition: Value) -> Value {
        self.world.run(&self.agent(definition).await, PAYLOAD).await
    }

    /// The body of the request with this number, from 0.
    fn body(&self, number: usize) -> Value {
        self.model.asked()[number].body.clone()
    }
}

fn searcher() -> Value {
    json!({ "tools": [{ "type": "search_sources" }], "sources": [{ "title": "Shop", "text": SHOP }] })
}

fn says(text: &'static str) -> Says {
    Says {
        text: text.into(),
        ..Says::default()
    }
}

fn wants<const N: usize>(calls: [Call; N]) -> Says {
    Says {
        calls: calls.into(),
        ..Says::default()
    }
}

/// A search, under this id.
fn search(id: &'static str, query: &str) -> Call {
    Call(id, "search_sources", json!({ "query": query }))
}
