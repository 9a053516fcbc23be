//! The names of the secrets that an operator keeps, under `secret#<name>`. The
//! secret store could list its own, but on AWS only with a permission that shows
//! the names of every secret of the account (`secretsmanager:ListSecrets` takes no
//! resource).
//!
//! A name is written before its secret and deleted after it, so that no secret is
//! ever kept without its name.

use super::Agents;
use crate::StoreError;
use crate::error::Attempt;
use crate::item::{self, Item, Reader};

const VERSION: u64 = 1;

fn key(name: &str) -> String {
    format!("secret#{name}")
}

impl Agents {
    /// Notes that a secret of this name is kept.
    pub async fn note_secret(&self, name: &str) -> Result<(), StoreError> {
        let item = Item::from(
            [("id", item::text(key(name))), ("v", item::number(VERSION)), ("name", item::text(name))]
                .map(|(name, value)| (name.to_owned(), value)),
        );
        let put = self.db.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.attempt("note a secret's name").map(|_| ())
    }

    /// Forgets the name of a secret that is kept no more.
    pub async fn forget_secret(&self, name: &str) -> Result<(), StoreError> {
        let delete = self.db.delete_item().table_name(&self.table).set_key(Some(item::key(key(name))));
        delete.send().await.attempt("forget a secret's name").map(|_| ())
    }

    /// Whether a secret of this name is kept.
    pub async fn keeps_secret(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.read(key(name)).await?.is_some())
    }

    /// The names of all secrets that are kept, sorted.
    pub async fn kept_secrets(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for found in self.scan("secret#", "scan the secrets' names").await? {
            names.push(Reader(&found).text("name")?.to_owned());
        }
        names.sort();
        Ok(names)
    }
}
