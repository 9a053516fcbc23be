//! A fake Secrets Manager with the operations that the product uses. As on AWS, and unlike
//! in emulators, a new secret is not found immediately, and the name of a deleted one stays
//! reserved for a while. Both last for a number of calls, so that no test has to wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Reads that miss a secret after its creation: Secrets Manager is eventually consistent.
const UNSEEN_READS: u32 = 1;
/// Calls that a name refuses after a forced deletion, which is asynchronous
/// (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html>).
const REFUSED_CALLS: u32 = 1;

#[derive(Clone, Debug, Default)]
pub(crate) struct SecretsManager(Arc<Mutex<BTreeMap<String, Secret>>>);

#[derive(Debug)]
enum Secret {
    Live {
        value: Value,
        /// The token of the request that wrote it. If the request is repeated, it succeeds again
        /// (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>).
        token: Value,
        /// Reads that do not find it yet.
        unseen: u32,
    },
    /// Deleted without recovery. Refuses this many calls before the name is free.
    Deleting(u32),
    /// Deleted in the AWS console, with a recovery window of 7 to 30 days.
    Recoverable,
}

impl SecretsManager {
    /// Handles one request. Returns a status and JSON.
    pub(crate) fn call(&self, operation: &str, request: &Value) -> (u16, Value) {
        let mut secrets = self.0.lock().unwrap();
        let name = request["Name"]
            .as_str()
            .or(request["SecretId"].as_str())
            .unwrap_or_default()
            .to_owned();
        let token = request["ClientRequestToken"].clone();
        let written = |unseen| Secret::Live {
            value: request["SecretString"].clone(),
            token: request["ClientRequestToken"].clone(),
            unseen,
        };
        if let Some(Secret::Deleting(0)) = secrets.get(&name) {
            secrets.remove(&name);
        }
        match (operation, secrets.get_mut(&name)) {
            (_, Some(Secret::Deleting(calls))) => {
                *calls -= 1;
                refusal("InvalidRequestException")
            }
            // A deletion without recovery makes an earlier deletion final.
            ("DeleteSecret", Some(Secret::Recoverable)) => {
                secrets.insert(name.clone(), Secret::Deleting(REFUSED_CALLS));
                (200, json!({ "Name": name }))
            }
            (_, Some(Secret::Recoverable)) => refusal("InvalidRequestException"),
            ("CreateSecret", Some(Secret::Live { token: known, .. })) if *known != token => {
                refusal("ResourceExistsException")
            }
            ("CreateSecret", Some(_)) => (200, json!({ "Name": name })),
            ("CreateSecret", None) => {
                secrets.insert(name.clone(), written(UNSEEN_READS));
                (200, json!({ "Name": name }))
            }
            ("GetSecretValue", Some(Secret::Live { unseen, .. })) if *unseen > 0 => {
                *unseen -= 1;
                refusal("ResourceNotFoundException")
            }
            ("GetSecretValue", Some(Secret::Live { value, .. })) => {
                (200, json!({ "Name": name, "SecretString": value }))
            }
            ("PutSecretValue", Some(_)) => {
                secrets.insert(name.clone(), written(0));
                (200, json!({ "Name": name }))
            }
            ("GetSecretValue" | "PutSecretValue", None) => refusal("ResourceNotFoundException"),
            // A forced deletion of a missing secret is not an error.
            ("DeleteSecret", found) => {
                if found.is_some() {
                    secrets.insert(name.clone(), Secret::Deleting(REFUSED_CALLS));
                }
                (200, json!({ "Name": name }))
            }
            (other, _) => panic!("the product calls Secrets Manager {other}"),
        }
    }

    /// Deletes a secret as an operator does in the AWS console.
    pub(crate) fn delete_by_hand(&self, name: &str) {
        self.0
            .lock()
            .unwrap()
            .insert(name.to_owned(), Secret::Recoverable);
    }

    /// Replaces a value as an operator does in the AWS console.
    pub(crate) fn replace_by_hand(&self, name: &str, value: &str) {
        let secret = Secret::Live {
            value: json!(value),
            token: Value::Null,
            unseen: 0,
        };
        self.0.lock().unwrap().insert(name.to_owned(), secret);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let secrets = self.0.lock().unwrap();
        let live = secrets
            .iter()
            .filter(|(_, secret)| matches!(secret, Secret::Live { .. }));
        live.map(|(name, _)| name.clone()).collect()
    }
}

fn refusal(code: &str) -> (u16, Value) {
    (400, json!({ "__type": code, "message": code }))
}
