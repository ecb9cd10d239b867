//! Batches of small changes that belong somewhere.

use changeagent::base::{
    batch::{Append, Batch, Command, SuffixMembers, encode},
    ids::Timestamp,
};
use uuid::Uuid;

/// Where a change belongs.
#[derive(Default)]
pub struct Place {
    pub tenant: Option<Uuid>,
    pub collection: Option<Uuid>,
    pub key: Option<String>,
    pub tag: Option<String>,
}

impl Place {
    pub fn of(tenant: u64) -> Self {
        Self { tenant: Some(id(tenant)), ..Self::default() }
    }
}

/// The UUID of the `n`-th thing there is.
pub fn id(n: u64) -> Uuid {
    // Spread like random ones, as those of a running system are.
    Uuid::from_u64_pair(mix(n), mix(!n))
}

/// Numbers in an order that looks random, the same in each run.
pub fn mix(n: u64) -> u64 {
    let n = (n.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// One command that appends a change at each of `places`.
pub fn append(places: impl IntoIterator<Item = Place>) -> Command {
    let (mut spans, mut suffixes) = (Vec::new(), Vec::new());
    for place in places {
        let tag = place.tag.map(|tag| format!("\"{tag}\"")).unwrap_or_default();
        let members = SuffixMembers {
            tenant: place.tenant,
            collection: place.collection,
            key: place.key.as_deref(),
            ttl: None,
            tags: tag.as_bytes(),
        };
        spans.push(members.write(&mut suffixes, |out| out.extend_from_slice(b"1234567890")));
    }
    Append { spans: spans.into(), suffixes: suffixes.into(), ..Append::default() }.into()
}

pub fn batch(commands: &[Command]) -> Batch {
    Batch::parse(encode(commands, Timestamp(1))).expect("a batch that was just encoded")
}
