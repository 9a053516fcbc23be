//! The names of the secrets that an operator has stored, under `secret#<name>`. The
//! secret store could list them, but on AWS only with a permission that shows the names
//! of all secrets in the account (`secretsmanager:ListSecrets` supports no resource).
//!
//! A name is written before its secret and deleted after it, so that a stored secret
//! always has a name.

use super::Agents;
use super::attributes::{ID, NAME, SECRET_PREFIX, VERSION};
use crate::StoreError;
use crate::error::StoreAttempt;
use crate::item::{self, Item, ItemReader};

const SECRET_NAME_VERSION: u64 = 1;

fn key(name: &str) -> String {
    format!("{SECRET_PREFIX}{name}")
}

impl Agents {
    pub async fn store_secret_name(&self, name: &str) -> Result<(), StoreError> {
        let item = Item::from(
            [
                (ID, item::text(key(name))),
                (VERSION, item::number(SECRET_NAME_VERSION)),
                (NAME, item::text(name)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item));
        put.send()
            .await
            .attempt("store the name of a secret")
            .map(|_| ())
    }

    pub async fn delete_secret_name(&self, name: &str) -> Result<(), StoreError> {
        let delete = self
            .db
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(item::key(key(name))));
        delete
            .send()
            .await
            .attempt("delete the name of a secret")
            .map(|_| ())
    }

    pub async fn has_secret_name(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.read_item(key(name)).await?.is_some())
    }

    /// Returns the names of all secrets, sorted.
    pub async fn secret_names(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for found in self
            .scan(SECRET_PREFIX, "scan the names of the secrets")
            .await?
        {
            names.push(ItemReader(&found).text(NAME)?.to_owned());
        }
        names.sort();
        Ok(names)
    }
}
