//! Attributes of DynamoDB items.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::Moment;

use crate::StoreError;

/// The key of each table.
pub(crate) const ID: &str = "id";
/// The version of the record.
pub(crate) const VERSION: &str = "v";
/// The TTL attribute, in seconds.
pub(crate) const EXPIRES_AT: &str = "expires_at";

pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl Into<u64>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

pub(crate) fn moment(value: Moment) -> AttributeValue {
    number(value.millis())
}

pub(crate) fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value.into()))
}

pub(crate) fn key(id: impl Into<String>) -> Item {
    HashMap::from([(ID.to_owned(), text(id))])
}

/// Reads the attributes of an item. An error names the missing or malformed attribute.
#[derive(Clone, Copy)]
pub(crate) struct ItemReader<'a>(pub(crate) &'a Item);

impl<'a> ItemReader<'a> {
    pub(crate) fn damaged(self, attribute: &'static str) -> StoreError {
        let id = self.0.get(ID).and_then(|id| id.as_s().ok());
        StoreError::Damaged {
            id: id.cloned().unwrap_or_default(),
            attribute,
        }
    }

    /// Refuses a record of a version newer than `known`; see docs/contributing/data-model.md.
    pub(crate) fn require_version(self, known: u64) -> Result<Self, StoreError> {
        if self.number(VERSION)? <= known {
            return Ok(self);
        }
        let id = self.0.get(ID).and_then(|id| id.as_s().ok());
        Err(StoreError::Newer {
            id: id.cloned().unwrap_or_default(),
        })
    }

    pub(crate) fn text(self, name: &'static str) -> Result<&'a str, StoreError> {
        let value = self.0.get(name).and_then(|value| value.as_s().ok());
        value.map(String::as_str).ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn number(self, name: &'static str) -> Result<u64, StoreError> {
        self.optional_number(name)?
            .ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn optional_number(self, name: &'static str) -> Result<Option<u64>, StoreError> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let number = value.as_n().ok().and_then(|digits| digits.parse().ok());
        number.map(Some).ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn count(self, name: &'static str) -> Result<u32, StoreError> {
        u32::try_from(self.number(name)?).map_err(|_| self.damaged(name))
    }

    pub(crate) fn moment(self, name: &'static str) -> Result<Moment, StoreError> {
        self.number(name).map(Moment::from_millis)
    }

    pub(crate) fn optional_moment(self, name: &'static str) -> Result<Option<Moment>, StoreError> {
        Ok(self.optional_number(name)?.map(Moment::from_millis))
    }

    pub(crate) fn flag(self, name: &'static str) -> Result<bool, StoreError> {
        let value = self.0.get(name).and_then(|value| value.as_bool().ok());
        value.copied().ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn bytes(self, name: &'static str) -> Result<&'a [u8], StoreError> {
        let value = self.0.get(name).and_then(|value| value.as_b().ok());
        value.map(AsRef::as_ref).ok_or_else(|| self.damaged(name))
    }
}
