//! The bounds that requests, answers and connections keep. Those a user may set
//! are defaults here and travel in [`Limits`]; the rest are constants. A bound
//! that concerns one module alone stands there, beside what it bounds.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bounds that a request must keep; each is configurable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and headers together, in bytes; above it `431` or `414`.
    pub head_bytes: usize,
    /// Header lines of one request; above it `431`.
    pub headers: usize,
    /// Request body in bytes, after chunked decoding; above it `413`.
    pub body_bytes: usize,
    /// `data` of one change in bytes, as stored; above it `413`.
    pub data_bytes: usize,
    /// Changes in one batch; above it `413`.
    pub batch_changes: usize,
    /// Nesting depth of a JSON body's `data`; above it `400 invalid-json`.
    pub json_depth: usize,
    /// From the first byte of a head to its last.
    pub head_timeout: Duration,
    /// From the end of a head to the last byte of its body.
    pub body_timeout: Duration,
    /// A kept-alive connection without a request.
    pub idle_timeout: Duration,
    /// A client that takes too little of its answer: see [`WRITE_WINDOW_BYTES`].
    pub write_timeout: Duration,
    /// Connections of one node, all cores together; above it the longest idle one
    /// is closed, and without one there is `503 overloaded`.
    pub connections: usize,
    /// Bytes of requests and of unsent answers held at once, all connections of
    /// a node together; above it `503 overloaded`. An eighth of it is kept for what
    /// is small. What one connection was given before may exceed it by one body or
    /// one answer.
    pub held_bytes: usize,
    /// Requests of one core of a copy that wait for its origin at once; above it `503 overloaded`.
    /// Not set by the user: what open files leave of [`HANDED_ON_MAX`].
    pub handed_on: usize,
    /// Tenants of which `/metrics` shows what they use.
    pub metrics_tenants: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * KIB,
            headers: 100,
            body_bytes: 16 * MIB,
            data_bytes: MIB,
            batch_changes: 10_000,
            json_depth: 128,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            connections: 16_384,
            held_bytes: 512 * MIB,
            handed_on: HANDED_ON_MAX,
            metrics_tenants: 0,
        }
    }
}

/// `limit` of a read when it is not given.
pub const READ_LIMIT_DEFAULT: usize = 100;
/// The largest `limit` of a read; more is cut to it.
pub const READ_LIMIT_MAX: usize = 10_000;
/// Bytes of changes in one answer; at least one change is always returned.
pub const READ_BYTES_MAX: usize = 8 * MIB;
/// The longest `block`; more is cut to it.
pub const BLOCK_MAX: Duration = Duration::from_secs(300);
/// How long `min_id` waits when `block` is not given.
pub const MIN_ID_WAIT: Duration = Duration::from_secs(10);

/// Handshakes of TLS under way on one core. When one more comes, the one that has been under way for longest
/// is cut off, if it has been for a second; else the new one is.
pub const HANDSHAKES_MAX: usize = 1024;

/// Wrong tokens of an address, or of a token, that are looked at at once; from then on one each
/// [`FAILURE_PERIOD`].
pub const FAILURES_BURST: u32 = 100;
/// How often one more is.
pub const FAILURE_PERIOD: Duration = Duration::from_secs(1);
/// Addresses and tokens of which a node counts that, about 1 MiB of memory; the one that was heard of least recently makes
/// room.
pub const FAILURE_SOURCES_MAX: usize = 8_192;

/// `tag` parameters of one read.
pub const QUERY_TAGS_MAX: usize = 32;
/// Requests of one core of a copy that wait for its origin at once, writes and reads together; half of
/// them may be reads, and a quarter streams. Fewer where there are few open files: see [`Limits::handed_on`].
pub const HANDED_ON_MAX: usize = 256;
/// Tenants of which `/metrics` shows what they use at most: each takes 7 lines of about 110 bytes.
pub const METRICS_TENANTS_MAX: usize = 10_000;
/// Bodies that one core compresses or unpacks at once: each takes up to 8 MiB besides what is counted.
pub const CODERS_MAX: usize = 4;
/// Origins of one cache: some connections to each are kept on each core.
pub const ORIGINS_MAX: usize = 16;
/// `tenant` and `collection` parameters of one read, together.
pub const QUERY_LISTS_MAX: usize = 100;

/// Tags of one change.
pub const TAGS_MAX: usize = 32;
/// Bytes of UTF-8 in one tag.
pub const TAG_BYTES_MAX: usize = 128;
/// Bytes of UTF-8 in a key.
pub const KEY_BYTES_MAX: usize = 1024;
/// Bytes of a tenant's or a collection's name.
pub const NAME_BYTES_MAX: usize = 128;

/// Batches stop growing at this size, in bytes; one larger write still makes a
/// batch of its own. About two milliseconds of a 450 MB/s disk.
pub const BATCH_BYTES: usize = MIB;

/// Changes that one read looks at under a filter; then it answers with what it
/// has and where to go on.
pub const READ_EXAMINED_MAX: usize = 1_000_000;
/// Changes of a collection that one read looks at for keys that moved.
pub const READ_MOVED_EXAMINED_MAX: usize = 100_000;
/// The most memory set aside for an answer before its size is known.
pub const READ_RESERVE_BYTES: usize = MIB;
/// Changes expected of a filtered read, which may be any number.
pub const READ_EXPECTED_FILTERED: usize = 16;
/// Bytes of changes that a read takes up, or of batches that it checks, before
/// other connections of its core may run.
pub const READ_TURN_BYTES: usize = 128 * KIB;
/// Changes that a read looks at before other connections of its core may run.
pub const READ_TURN_CHANGES: usize = 4096;
/// Bytes of changes in one part of a stream: what a slow reader makes the server
/// hold.
pub const STREAM_PART_BYTES: usize = 64 * KIB;
/// Changes in one part of a stream.
pub const STREAM_PART_CHANGES: usize = 1024;
/// Bytes of complete segments that are verified in a second: a fraction of what any disk reads.
pub const SCRUB_BYTES_PER_SECOND: u64 = 16 << 20;
/// Tenants whose lists are made to begin later together.
pub const BEGINNINGS_MAX: usize = 256;
/// Keys that expire together.
pub const EXPIRIES_MAX: usize = 256;
/// Bytes of segments that are written anew in a second, so that what was redacted goes: a fraction of
/// what any disk takes.
pub const ERASURE_BYTES_PER_SECOND: u64 = 16 << 20;
/// Bytes of entries, or of a checkpoint, in one answer to whoever keeps a copy of the log; at least
/// one entry is given.
pub const LOG_PIECE_BYTES: usize = MIB;
/// Parts of a checkpoint, each of some tenants, that are kept at once for those who ask for them; above it `503 behind`.
pub const CHECKPOINT_PARTS_MAX: usize = 8;
/// Such questions that wait for their turn at once; above it `503 overloaded`.
pub const LOG_PIECES_WAITING: usize = 64;
/// Reads of the log that may wait for an entry at once; above it `503 overloaded`.
pub const LOG_WAITS_MAX: usize = 1024;
/// A stream without a change says this often that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Bytes of a batch from which on a core remembers checksums of its pieces once it has verified all of it.
pub const VERIFIED_BATCH_BYTES_MIN: usize = 32 * KIB;
/// Bytes of such a piece; the last one of a batch is shorter.
pub const VERIFIED_PIECE_BYTES: usize = 4 * KIB;
/// Pieces that one core remembers checksums of: those of 8 GiB of batches, which take 9 to 20 MiB.
pub const VERIFIED_PIECES_MAX: usize = 2 << 20;
/// How long it trusts a piece that it has verified.
pub const VERIFIED_FOR: Duration = Duration::from_secs(1);
/// Bytes brought into memory at once when a read comes to a cold place.
pub const READ_AHEAD_BYTES: usize = MIB;
/// Bytes of batches behind a damaged one that are looked at for where the damage ends.
pub const DAMAGE_AHEAD_BYTES: usize = 4 * MIB;
/// Damaged places that are remembered of one file.
pub const DAMAGED_PLACES_MAX: usize = 64;
/// Bytes reserved for a body that has only begun to arrive, so that a declared
/// length alone costs no memory.
pub const BODY_ROOM_BYTES: usize = 64 * KIB;
/// One chunk-size line of a chunked request, with its extensions.
pub const CHUNK_LINE_BYTES: usize = 256;
/// Bodies up to this size are copied next to their head, so that one write
/// sends both; larger ones are sent from where they are.
pub const BODY_COPY_BYTES: usize = 4 * KIB;
/// Bytes of answers that wait for the client to read them; above it no further
/// pipelined request is taken up.
pub const TRANSMIT_BACKLOG_BYTES: usize = 64 * KIB;
/// What a client must take of an answer, or all that is left of it, within the
/// time for writing: fewer do not prolong it.
pub const WRITE_WINDOW_BYTES: usize = 64 * KIB;
/// One connection that holds at most so many bytes of requests and answers is
/// served from the reserve when the node holds as much as it may.
pub const SMALL_HELD_BYTES: usize = 64 * KIB;
/// One connection that holds more bytes of requests and answers than this leaves
/// a part of what the node may hold to those who hold less.
pub const MIDDLING_HELD_BYTES: usize = MIB;
/// Bytes thrown away after a refusal so that the client can read the answer
/// before the connection is cut.
pub const LINGER_BYTES: usize = 32 * MIB;
/// How long those bytes are waited for.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
