//! The state at a position of the log, as a file: what a node needs of history
//! that is purged.
//!
//! Lines of JSON, in this order, each ended by `\n`:
//!
//! ```text
//! {"changeagent-checkpoint":1,"cluster":uuid,"term":…,"index":…,"raft":…,"last":…,"last_at":…,
//!  "tenants":…,"collections":…,"requests":…,"keys":…}       the head, with counts
//! {"tenant":uuid,"name":…}
//! {"collection":uuid,"name":…,"tenant":uuid}
//! {"key":hex,"request":hex,"at":…,"result":{"Ok":…}}        oldest first
//! {"_id":…,"_ts":…,…}               the current change of each key, as it is sent
//! {"crc32c":…}                      of all bytes before this line
//! ```
//!
//! The file is written whole, under another name, synced and renamed. It is
//! stable: the number of the format is in its first line.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    base::{
        batch::{TailParts, tail_parts},
        ids::{ChangeId, ClusterId, LogId, Timestamp},
    },
    state::{
        Position, State,
        checkpointed::Line,
        index::{Known, Slice},
    },
};

/// The format written, and read.
const FORMAT: u32 = 1;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    #[serde(rename = "changeagent-checkpoint")]
    format: u32,
    /// The cluster whose history it is of.
    pub cluster: Uuid,
    term: u64,
    index: u64,
    /// What the Raft layer keeps here: the membership.
    pub raft: Box<serde_json::value::RawValue>,
    last: u64,
    last_at: u64,
    tenants: usize,
    collections: usize,
    requests: usize,
    keys: usize,
}

impl Head {
    /// The last entry that is in it.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        LogId { term: self.term, index: self.index }
    }

    /// How far the list goes in it.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { last: ChangeId(self.last), last_at: Timestamp(self.last_at) }
    }
}

#[derive(Serialize, Deserialize)]
struct TenantLine<'l> {
    tenant: Uuid,
    #[serde(borrow)]
    name: std::borrow::Cow<'l, str>,
}

#[derive(Serialize, Deserialize)]
struct CollectionLine<'l> {
    collection: Uuid,
    #[serde(borrow)]
    name: std::borrow::Cow<'l, str>,
    tenant: Uuid,
}

#[derive(Deserialize)]
struct ChangeLine {
    _id: u64,
}

#[derive(Serialize, Deserialize)]
struct End {
    crc32c: u32,
}

/// Counts and sums up what goes through.
struct Summing<W> {
    out: W,
    crc: u32,
    written: u64,
}

impl<W: Write> Summing<W> {
    fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in [bytes, b"\n"] {
            self.crc = crc32c::crc32c_append(self.crc, part);
            self.written += part.len() as u64;
            self.out.write_all(part)?;
        }
        Ok(())
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        self.line(&text)
    }
}

/// Writes `state`, which is that of `cluster` after the entry `log_id`, to `out`. `change`
/// gives a change as it is sent; it is asked for the current one of each key, and
/// where these lie is given back.
///
/// # Errors
/// What `out` and `change` report.
pub fn write(
    out: impl Write,
    state: &State,
    cluster: ClusterId,
    log_id: LogId,
    raft: Box<serde_json::value::RawValue>,
    mut change: impl FnMut(ChangeId) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<Line>> {
    let catalog = &state.index().catalog;
    let (tenants, collections) = catalog.counts();
    let ids = catalog.collection_ids();
    let keys = ids.iter().filter_map(|id| catalog.collection(*id)).map(|c| c.keys()).sum();
    let Position { last, last_at } = state.position();
    let requests = state.index().idempotency();
    let mut out = Summing { out, crc: 0, written: 0 };
    out.json(&Head {
        format: FORMAT,
        cluster: cluster.0,
        term: log_id.term,
        index: log_id.index,
        raft,
        last: last.0,
        last_at: last_at.0,
        tenants,
        collections,
        requests: requests.len(),
        keys,
    })?;
    let mut after = None;
    loop {
        let Slice { entries, next } = catalog.tenants_after(after.as_deref(), usize::MAX);
        for tenant in &entries {
            out.json(&TenantLine { tenant: tenant.id, name: (*tenant.name).into() })?;
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    for collection in ids.iter().filter_map(|id| catalog.collection(*id)) {
        let (id, tenant, name) = (collection.id, collection.tenant, &*collection.name);
        out.json(&CollectionLine { collection: id, name: name.into(), tenant })?;
    }
    for known in requests.iter() {
        out.json(&known)?;
    }
    let mut lines = Vec::with_capacity(keys);
    for collection in ids.iter().filter_map(|id| catalog.collection(*id)) {
        let mut after = None;
        loop {
            let Slice { entries, next } = collection.keys_after(after.as_deref(), "", usize::MAX);
            for id in entries {
                let change = change(id)?;
                let bytes = u32::try_from(change.len()).map_err(io::Error::other)?;
                lines.push(Line { id, offset: out.written, bytes });
                out.line(&change)?;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    // The state does not change meanwhile, so the head's counts hold.
    assert_eq!(lines.len(), keys, "the head counts the keys that follow");
    let end = serde_json::to_vec(&End { crc32c: out.crc })?;
    out.line(&end)?;
    out.out.flush()?;
    Ok(lines)
}

/// What a checkpoint holds.
pub struct Checkpoint {
    /// Its first line.
    pub head: Head,
    /// The state.
    pub state: State,
    /// Where the current changes of keys lie in it.
    pub lines: Vec<Line>,
}

/// Reads a whole checkpoint.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read(bytes: &[u8]) -> Result<Checkpoint, String> {
    let mut lines = Lines { bytes, at: 0 };
    let head: Head = lines.json()?;
    if head.format != FORMAT {
        return Err(format!("checkpoint format {} is not known to this program", head.format));
    }
    check_sum(bytes)?;
    let state = State::at(head.position());
    let index = state.index();
    for _ in 0..head.tenants {
        let line: TenantLine<'_> = lines.json()?;
        index.catalog.add_tenant(line.tenant, &line.name);
    }
    for _ in 0..head.collections {
        let at = lines.at;
        let line: CollectionLine<'_> = lines.json()?;
        let tenant = index.catalog.tenant(line.tenant);
        let tenant = tenant.ok_or_else(|| format!("a collection without tenant at byte {at}"))?;
        index.catalog.add_collection(line.collection, &tenant, &line.name);
    }
    for _ in 0..head.requests {
        let known: Known = lines.json()?;
        index.restore_request(&known);
    }
    // Each takes more than a byte, whatever the head says.
    let mut found = Vec::with_capacity(head.keys.min(bytes.len()));
    for _ in 0..head.keys {
        let (offset, line) = lines.next()?;
        let wrong = || format!("a change that cannot be read at byte {offset}");
        let ChangeLine { _id } = serde_json::from_slice(line).map_err(|_| wrong())?;
        let TailParts { collection, key } = tail_parts(line).ok_or_else(wrong)?;
        let collection = index.catalog.collection(collection).ok_or_else(wrong)?;
        collection.restore_key(&key, ChangeId(_id));
        let bytes = u32::try_from(line.len()).map_err(|_| wrong())?;
        found.push(Line { id: ChangeId(_id), offset: offset as u64, bytes });
    }
    check_ids(&found, head.position().last)?;
    Ok(Checkpoint { head, state, lines: found })
}

/// Checks that each key has a change of its own, and none that comes later.
fn check_ids(lines: &[Line], last: ChangeId) -> Result<(), String> {
    let mut ids: Vec<ChangeId> = lines.iter().map(|line| line.id).collect();
    ids.sort_unstable();
    if let Some(twice) = ids.windows(2).find(|ids| ids[0] == ids[1]) {
        return Err(format!("change {} is that of two keys", twice[0]));
    }
    match ids.last() {
        Some(id) if *id > last => Err(format!("change {id} is beyond the last, {last}")),
        _ => Ok(()),
    }
}

/// Checks the last line against all others.
fn check_sum(bytes: &[u8]) -> Result<(), String> {
    let content = bytes.strip_suffix(b"\n").ok_or("its end is missing")?;
    let start = content.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let (before, end) = bytes.split_at(start);
    let end: End = serde_json::from_slice(end).map_err(|_| "its end is missing")?;
    if crc32c::crc32c(before) != end.crc32c {
        return Err("it does not match its checksum".into());
    }
    Ok(())
}

struct Lines<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Lines<'b> {
    fn next(&mut self) -> Result<(usize, &'b [u8]), String> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| format!("it ends early, at byte {start}"))?;
        self.at = start + length + 1;
        Ok((start, &rest[..length]))
    }

    fn json<T: Deserialize<'b>>(&mut self) -> Result<T, String> {
        let (at, line) = self.next()?;
        serde_json::from_slice(line).map_err(|error| format!("{error} at byte {at}"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        base::batch::{Action, Append, Batch, Command, Idempotency, encode, put_change},
        state::testing::ChangeText,
    };

    const TENANT: Uuid = Uuid::from_u128(1);
    const SHELF: Uuid = Uuid::from_u128(2);

    /// A state with something of every kind, and the changes it came from.
    fn state() -> (State, Vec<Vec<u8>>) {
        let key = |key, data| ChangeText {
            data: Some(data),
            tags: &["t\"ag"],
            ..ChangeText::of(TENANT, Some(SHELF), Some(key))
        };
        let idempotency = Some(Idempotency { key: [7; 16], request: [9; 16] });
        let commands: Vec<Command> = vec![
            Action::CreateTenant { tenant: TENANT, name: "foo".into() }.into(),
            Action::CreateCollection { tenant: TENANT, collection: SHELF, name: "bar".into() }
                .into(),
            Append::from(key("a\n\"b\\", "{\"x\":[1.50]}")).into(),
            Command { action: Action::Append(key("z", "1").into()), idempotency },
            Append::from(ChangeText::plain("\"of nobody\"")).into(),
            Append::from(key("z", "\"\\ud800\"")).into(),
        ];
        let mut state = State::default();
        let applied = state.apply(Batch::parse(encode(&commands, Timestamp(77))).unwrap());
        let sent = |(id, change): (ChangeId, crate::base::batch::ChangeRef<'_>)| {
            let mut out = Vec::new();
            put_change(&mut out, id, Timestamp(77), change.tail);
            out
        };
        let changes = applied.batch.iter().map(sent).collect();
        (state, changes)
    }

    fn written() -> Vec<u8> {
        written_at(5)
    }

    /// A checkpoint for entries up to `index`.
    pub(in crate::checkpoint) fn written_at(index: u64) -> Vec<u8> {
        let (state, changes) = state();
        let mut out = Vec::new();
        let raft = serde_json::value::to_raw_value(&[1, 2]).unwrap();
        let (cluster, log_id) = (ClusterId(Uuid::from_u128(3)), LogId { term: 4, index });
        let change = |id: ChangeId| Ok(changes[id.0 as usize - 1].clone());
        let lines = write(&mut out, &state, cluster, log_id, raft, change).unwrap();
        for line in lines {
            let text = &out[line.offset as usize..][..line.bytes as usize];
            assert_eq!(text, changes[line.id.0 as usize - 1]);
        }
        out
    }

    /// What the format must go on being.
    const FIXTURE: &str = concat!(
        r#"{"changeagent-checkpoint":1,"cluster":"00000000-0000-0000-0000-000000000003","term":4,"#,
        r#""index":5,"raft":[1,2],"last":4,"last_at":77,"tenants":1,"collections":1,"#,
        r#""requests":1,"keys":2}"#,
        "\n",
        r#"{"tenant":"00000000-0000-0000-0000-000000000001","name":"foo"}"#,
        "\n",
        r#"{"collection":"00000000-0000-0000-0000-000000000002","name":"bar","#,
        r#""tenant":"00000000-0000-0000-0000-000000000001"}"#,
        "\n",
        r#"{"key":"07070707070707070707070707070707","request":"09090909090909090909090909090909","#,
        r#""at":77,"result":{"Ok":{"Changes":{"first":2,"count":1,"replaced":false}}}}"#,
        "\n",
        r#"{"_id":1,"_ts":77,"tenant":"00000000-0000-0000-0000-000000000001","#,
        r#""collection":"00000000-0000-0000-0000-000000000002","key":"a\n\"b\\","#,
        r#""tags":["t\"ag"],"data":{"x":[1.50]}}"#,
        "\n",
        r#"{"_id":4,"_ts":77,"tenant":"00000000-0000-0000-0000-000000000001","#,
        r#""collection":"00000000-0000-0000-0000-000000000002","key":"z","#,
        r#""tags":["t\"ag"],"data":"\ud800"}"#,
        "\n",
    );

    #[test]
    fn what_is_written_is_what_the_format_says_and_is_read_back() {
        let bytes = written();
        let end = format!("{{\"crc32c\":{}}}\n", crc32c::crc32c(FIXTURE.as_bytes()));
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), format!("{FIXTURE}{end}"));
        let Checkpoint { head, state, lines } = read(&bytes).unwrap();
        assert_eq!(head.log_id(), LogId { term: 4, index: 5 });
        let position = Position { last: ChangeId(4), last_at: Timestamp(77) };
        assert_eq!((head.position(), state.position()), (position, position));
        let catalog = &state.index().catalog;
        assert_eq!(catalog.tenant_named("foo").unwrap().id, TENANT);
        let shelf = catalog.tenant(TENANT).unwrap().collection("bar").unwrap();
        assert_eq!(shelf.current("a\n\"b\\"), Some(ChangeId(1)));
        assert_eq!((shelf.current("z"), shelf.keys()), (Some(ChangeId(4)), 2));
        assert_eq!(lines.iter().map(|line| line.id.0).collect::<Vec<_>>(), [1, 4]);
        let asked = Idempotency { key: [7; 16], request: [9; 16] };
        assert!(state.index().idempotency().decision(&asked).unwrap().replayed);
        assert_eq!(state.index().applying_up_to(), ChangeId(4));
    }

    #[test]
    fn what_no_state_amounts_to_is_an_error() {
        let text = String::from_utf8(written()).unwrap();
        let refused = |from: &str, to: &str| {
            let changed = text.replace(from, to);
            let content = &changed[..changed.rfind("{\"crc32c").unwrap()];
            let sum = crc32c::crc32c(content.as_bytes());
            read(format!("{content}{{\"crc32c\":{sum}}}\n").as_bytes()).err().unwrap()
        };
        assert!(refused("{\"_id\":4", "{\"_id\":1").contains("of two keys"));
        assert!(refused("{\"_id\":4", "{\"_id\":5").contains("beyond the last"));
        assert!(refused("\"keys\":2", "\"keys\":99999999999999").contains("cannot be read"));
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let good = written();
        for cut in 0..good.len() {
            assert!(read(&good[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(&bad).is_err(), "changed at {at}");
        }
        let more = FIXTURE.replace("\"keys\":2", "\"keys\":1000000000000000000");
        let more = format!("{more}{{\"crc32c\":{}}}\n", crc32c::crc32c(more.as_bytes()));
        assert!(read(more.as_bytes()).is_err(), "fewer keys than its head says");
        let later = String::from_utf8(good).unwrap().replace("checkpoint\":1", "checkpoint\":2");
        let error = read(later.as_bytes()).err().unwrap();
        assert!(error.contains("format 2"), "{error}");
    }
}
