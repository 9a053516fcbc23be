//! Secrets Manager at the wire, as far as the product uses it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

#[derive(Clone, Debug, Default)]
pub(crate) struct SecretsManager(Arc<Mutex<BTreeMap<String, Secret>>>);

#[derive(Debug)]
struct Secret {
    value: Value,
    /// The request that wrote it: coming again, it is answered as if it were the first
    /// (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>).
    token: Value,
}

impl SecretsManager {
    /// One request, answered with a status and JSON.
    pub(crate) fn call(&self, operation: &str, request: &Value) -> (u16, Value) {
        let mut secrets = self.0.lock().unwrap();
        let name = request["Name"].as_str().or(request["SecretId"].as_str()).unwrap_or_default().to_owned();
        let token = request["ClientRequestToken"].clone();
        let written = Secret { value: request["SecretString"].clone(), token: token.clone() };
        match (operation, secrets.get(&name)) {
            ("CreateSecret", Some(secret)) if secret.token != token => refusal("ResourceExistsException"),
            ("CreateSecret", _) => {
                secrets.insert(name.clone(), written);
                (200, json!({ "Name": name }))
            }
            ("GetSecretValue", Some(secret)) => (200, json!({ "Name": name, "SecretString": secret.value })),
            ("PutSecretValue", Some(_)) => {
                secrets.insert(name.clone(), written);
                (200, json!({ "Name": name }))
            }
            ("GetSecretValue" | "PutSecretValue", None) => refusal("ResourceNotFoundException"),
            // Forced, it is no error that there is none.
            ("DeleteSecret", _) => {
                secrets.remove(&name);
                (200, json!({ "Name": name }))
            }
            (other, _) => panic!("the product calls Secrets Manager {other}"),
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

fn refusal(code: &str) -> (u16, Value) {
    (400, json!({ "__type": code, "message": code }))
}
