//! Payloads and results as attributes. They are compressed if that makes them smaller. Large
//! ones are spilled into separate items.
//!
//! An update in DynamoDB costs a write unit per KB of the whole item, and a task is written
//! three times. Above a few kilobytes it is cheaper to write the content once, beside the
//! task. Above 400 KB, the maximum size of an item, it is the only way.

use std::io::{Read, Write};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::Moment;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use futures::future::try_join_all;

use crate::StoreError;
use crate::error::StoreAttempt;
use crate::item::{self, EXPIRES_AT, ID, Item, ItemReader};

/// Up to this many packed bytes are stored in the task's own item.
const INLINE_BYTES: usize = 8 * 1024;
/// Bytes per spilled item: below DynamoDB's 400 KB, with room for the other attributes.
pub(crate) const PART_BYTES: usize = 350 * 1024;
/// Shorter content is stored uncompressed.
const COMPRESS_FROM: usize = 256;
/// The fastest level that codes a text by its own frequencies. Level 1 of zlib-rs does not, and
/// its result is about 24 % longer.
const LEVEL: Compression = Compression::new(2);
/// Maximum size when read back: payloads have up to 4 MiB, results 4 MiB plus JSON escapes.
const MAX_UNPACKED: usize = 32 * 1024 * 1024;
/// Enough for the maximum size, because packing adds at most one byte.
const MAX_PARTS: usize = MAX_UNPACKED / PART_BYTES + 1;

/// The bytes of a spilled item, or of a part of a document.
pub(crate) const DATA: &str = "data";
/// In the attribute that refers to spilled items: their name and their number.
const BLOB: &str = "blob";
const PARTS: &str = "parts";

const RAW: u8 = 0;
const DEFLATE: u8 = 1;

/// Stores `content` and returns the attribute that holds it or refers to it. Spilled parts
/// are written first, under a random name, so that of two concurrent writers neither damages
/// the other's content. Parts that no task refers to expire.
pub(crate) async fn store_content(
    db: &Client,
    table: &str,
    content: &[u8],
    expires_at: Moment,
) -> Result<AttributeValue, StoreError> {
    let packed = pack(content);
    if packed.len() <= INLINE_BYTES {
        return Ok(item::bytes(packed));
    }
    let blob = random_name("blob-")?;
    let parts: Vec<&[u8]> = packed.chunks(PART_BYTES).collect();
    let writes = parts.iter().enumerate().map(|(index, part)| {
        db.put_item()
            .table_name(table)
            .item(ID, item::text(part_id(&blob, index)))
            .item(DATA, item::bytes(*part))
            .item(EXPIRES_AT, item::number(expires_at.ttl_seconds()))
            .send()
    });
    try_join_all(writes)
        .await
        .attempt("store a part of a large payload or result")?;
    Ok(AttributeValue::M(Item::from([
        (BLOB.to_owned(), item::text(blob)),
        (PARTS.to_owned(), item::number(parts.len() as u64)),
    ])))
}

/// Reads the content that [`store_content`] stored in the attribute `name`.
pub(crate) async fn load_content(
    db: &Client,
    table: &str,
    found: &Item,
    name: &'static str,
) -> Result<Vec<u8>, StoreError> {
    let reader = ItemReader(found);
    let packed = match found.get(name) {
        Some(AttributeValue::B(packed)) => packed.as_ref().to_vec(),
        Some(AttributeValue::M(spilled)) => read_parts(db, table, ItemReader(spilled)).await?,
        _ => return Err(reader.damaged(name)),
    };
    unpack(&packed).ok_or_else(|| reader.damaged(name))
}

async fn read_parts(
    db: &Client,
    table: &str,
    spilled: ItemReader<'_>,
) -> Result<Vec<u8>, StoreError> {
    let blob = spilled.text(BLOB)?;
    let parts = usize::try_from(spilled.number(PARTS)?).unwrap_or(usize::MAX);
    if parts > MAX_PARTS {
        return Err(spilled.damaged(PARTS));
    }
    let reads = (0..parts).map(|index| {
        db.get_item()
            .table_name(table)
            .key(ID, item::text(part_id(blob, index)))
            .consistent_read(true)
            .send()
    });
    let mut packed = Vec::new();
    for part in try_join_all(reads)
        .await
        .attempt("read a part of a large payload or result")?
    {
        let missing = || StoreError::Damaged {
            id: blob.to_owned(),
            attribute: "part",
        };
        let part = part.item.ok_or_else(missing)?;
        packed.extend_from_slice(ItemReader(&part).bytes(DATA)?);
    }
    Ok(packed)
}

fn part_id(blob: &str, index: usize) -> String {
    format!("{blob}.{index}")
}

/// Returns a unique name of 128 random bits.
pub(crate) fn random_name(prefix: &str) -> Result<String, StoreError> {
    let mut entropy = [0; 16];
    getrandom::fill(&mut entropy).attempt("get random bytes")?;
    Ok(format!("{prefix}{:032x}", u128::from_be_bytes(entropy)))
}

pub(crate) fn pack(content: &[u8]) -> Vec<u8> {
    if content.len() >= COMPRESS_FROM {
        let mut encoder = DeflateEncoder::new(vec![DEFLATE], LEVEL);
        if encoder.write_all(content).is_ok()
            && let Ok(packed) = encoder.finish()
            && packed.len() <= content.len()
        {
            return packed;
        }
    }
    [&[RAW], content].concat()
}

pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    match packed.split_first()? {
        (&RAW, content) => Some(content.to_vec()),
        (&DEFLATE, deflated) => {
            let mut content = Vec::new();
            // One more byte than allowed shows that the content is too large.
            let mut decoder = DeflateDecoder::new(deflated).take(MAX_UNPACKED as u64 + 1);
            decoder.read_to_end(&mut content).ok()?;
            (content.len() <= MAX_UNPACKED).then_some(content)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_returns_the_packed_content() {
        let noise: Vec<u8> = (0..5000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for content in [b"".to_vec(), b"{}".to_vec(), b"a".repeat(100_000), noise] {
            let packed = pack(&content);
            assert!(packed.len() <= content.len() + 1);
            assert_eq!(unpack(&packed), Some(content));
        }
    }

    #[test]
    fn bytes_that_were_never_packed_are_refused() {
        assert_eq!(unpack(b""), None);
        assert_eq!(unpack(b"\x07x"), None);
        assert_eq!(unpack(b"\x01\xff\xff\xff"), None);
    }

    #[test]
    fn content_over_the_maximum_size_is_refused_and_not_truncated() {
        let largest = vec![b'a'; MAX_UNPACKED];
        assert_eq!(
            unpack(&pack(&largest)).map(|content| content.len()),
            Some(MAX_UNPACKED)
        );
        assert_eq!(unpack(&pack(&[&largest[..], b"a"].concat())), None);
    }

    #[test]
    fn truncated_content_is_refused() {
        let packed = pack(&b"{\"order\":7}".repeat(100));
        for length in 1..packed.len() {
            assert_eq!(unpack(&packed[..length]), None);
        }
    }
}
