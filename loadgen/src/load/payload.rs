//! The changes that an ingest run sends: each names its run, worker and sequence number and is
//! padded to an exact size. Everything has a fixed width, so one prebuilt request is patched in
//! place, and the verifier can build the expected bytes of any change again.

use std::ops::Range;

use anyhow::{Result, ensure};

use crate::http::target::Fields;

/// How many different paddings a run has. A change's padding starts somewhere in a pool that is
/// longer than the padding by this many bytes, so neighbours differ and mixed-up bytes show.
const PAD_VARIANTS: usize = 4096;

/// Smallest size of a change's data in bytes: all members with an empty padding.
pub(crate) const DATA_BYTES_MIN: usize = RUN.len()
    + RUN_DIGITS
    + WORKER.len()
    + WORKER_DIGITS
    + SEQUENCE.len()
    + SEQUENCE_DIGITS
    + PAD.len()
    + END.len();

const RUN: &[u8] = b"{\"run\":\"";
const RUN_DIGITS: usize = 16;
const WORKER: &[u8] = b"\",\"worker\":\"";
const WORKER_DIGITS: usize = 4;
const SEQUENCE: &[u8] = b"\",\"seq\":\"";
const SEQUENCE_DIGITS: usize = 8;
const PAD: &[u8] = b"\",\"pad\":\"";
const END: &[u8] = b"\"}";

/// Which change of a run: the connection that sends it, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) worker: u16,
    pub(crate) sequence: u32,
}

/// What every change of one run has in common.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    /// One change's data with every digit zero and no padding filled in.
    template: Vec<u8>,
    pool: Vec<u8>,
}

impl Payload {
    /// A payload of exactly `size` bytes a change for the run of this id.
    pub(crate) fn new(run: u64, size: usize) -> Result<Self> {
        ensure!(size >= DATA_BYTES_MIN, "--size must be at least {DATA_BYTES_MIN} bytes");
        let pad_bytes = size - DATA_BYTES_MIN;
        let mut template = Vec::with_capacity(size);
        template.extend_from_slice(RUN);
        template.extend_from_slice(format!("{run:0RUN_DIGITS$x}").as_bytes());
        template.extend_from_slice(WORKER);
        template.extend_from_slice(&[b'0'; WORKER_DIGITS]);
        template.extend_from_slice(SEQUENCE);
        template.extend_from_slice(&[b'0'; SEQUENCE_DIGITS]);
        template.extend_from_slice(PAD);
        template.resize(template.len() + pad_bytes, b'.');
        template.extend_from_slice(END);
        debug_assert_eq!(template.len(), size);
        Ok(Self { template, pool: pool(run, PAD_VARIANTS + pad_bytes) })
    }

    /// The bytes of every change's data.
    pub(crate) fn size(&self) -> usize {
        self.template.len()
    }

    /// Writes the digits and the padding of one change into `data`, which holds the template.
    pub(crate) fn patch(&self, data: &mut [u8], origin: Origin) {
        debug_assert_eq!(data.len(), self.template.len());
        let pad_bytes = data.len() - DATA_BYTES_MIN;
        write_hex(&mut data[worker_digits()], u64::from(origin.worker));
        write_hex(&mut data[sequence_digits()], u64::from(origin.sequence));
        let start = variant(origin);
        let pad = pad_start()..pad_start() + pad_bytes;
        data[pad].copy_from_slice(&self.pool[start..start + pad_bytes]);
    }

    /// Reads back whose change this is; `None` for one of another run or another writer.
    pub(crate) fn origin(&self, data: &[u8]) -> Option<Origin> {
        let run = RUN.len() + RUN_DIGITS;
        if data.get(..run)? != self.template.get(..run)? {
            return None;
        }
        let worker = u16::try_from(read_hex(data.get(worker_digits())?)?).ok()?;
        let sequence = u32::try_from(read_hex(data.get(sequence_digits())?)?).ok()?;
        Some(Origin { worker, sequence })
    }

    /// The run that the data of a change names; `None` for data of anything else.
    pub(crate) fn run_of(data: &[u8]) -> Option<u64> {
        let rest = data.strip_prefix(RUN)?;
        rest.get(RUN_DIGITS..)?.starts_with(WORKER).then(|| read_hex(rest.get(..RUN_DIGITS)?))?
    }

    /// Whether `data` is, byte for byte, what was sent as `origin`. `scratch` is only memory.
    pub(crate) fn matches(&self, data: &[u8], origin: Origin, scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        self.write(scratch, origin);
        data == scratch.as_slice()
    }

    /// Appends one change's data to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, origin: Origin) {
        let start = out.len();
        out.extend_from_slice(&self.template);
        self.patch(&mut out[start..], origin);
    }
}

/// What stands in a path for the number of a list, in [`LIST_DIGITS`] digits.
pub(crate) const LIST: &str = "{list}";
pub(crate) const LIST_DIGITS: usize = 6;

/// One prebuilt POST with room for a batch of changes.
#[derive(Debug, Clone)]
pub(crate) struct PostRequest {
    bytes: Vec<u8>,
    /// Where the number of the list stands, if the path has one.
    list: Option<Range<usize>>,
    /// Where each change's data stands in `bytes`.
    data: Vec<Range<usize>>,
}

impl PostRequest {
    /// Builds the request once: `batch` changes in an array, or a single object for one.
    pub(crate) fn new(
        payload: &Payload,
        fields: &Fields,
        path: &str,
        batch: usize,
        tags: &[String],
    ) -> Result<Self> {
        let tags = match tags {
            [] => String::new(),
            tags => format!(",\"tags\":{}", serde_json::to_string(tags)?),
        };
        let mut body = Vec::new();
        let mut data = Vec::with_capacity(batch);
        for index in 0..batch {
            body.extend_from_slice(match (batch, index) {
                (1, _) => b"".as_slice(),
                (_, 0) => b"[",
                _ => b",",
            });
            body.extend_from_slice(b"{\"data\":");
            data.push(body.len()..body.len() + payload.size());
            body.extend_from_slice(&payload.template);
            body.extend_from_slice(tags.as_bytes());
            body.push(b'}');
        }
        if batch > 1 {
            body.push(b']');
        }
        let numbered = path.replace(LIST, &"0".repeat(LIST_DIGITS));
        let list = path.find(LIST).map(|at| at + "POST ".len());
        let mut bytes = format!(
            "POST {numbered} HTTP/1.1\r\n{fields}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        for range in &mut data {
            *range = range.start + bytes.len()..range.end + bytes.len();
        }
        bytes.append(&mut body);
        Ok(Self { bytes, list: list.map(|at| at..at + LIST_DIGITS), data })
    }

    /// The request that sends the changes from `first` on, consecutive in their sequence, to the
    /// list of this number.
    pub(crate) fn fill(&mut self, payload: &Payload, first: Origin, list: u64) -> &[u8] {
        if let Some(digits) = self.list.clone() {
            write_decimal(&mut self.bytes[digits], list);
        }
        for (range, sequence) in self.data.iter().zip(first.sequence..) {
            let origin = Origin { worker: first.worker, sequence };
            payload.patch(&mut self.bytes[range.clone()], origin);
        }
        &self.bytes
    }
}

fn worker_digits() -> Range<usize> {
    let start = RUN.len() + RUN_DIGITS + WORKER.len();
    start..start + WORKER_DIGITS
}

fn sequence_digits() -> Range<usize> {
    let start = worker_digits().end + SEQUENCE.len();
    start..start + SEQUENCE_DIGITS
}

fn pad_start() -> usize {
    sequence_digits().end + PAD.len()
}

/// Which padding a change has: spread by a multiplicative hash.
fn variant(origin: Origin) -> usize {
    let key = u64::from(origin.worker) << 32 | u64::from(origin.sequence);
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize % PAD_VARIANTS
}

/// Letters and digits that depend on the run alone.
fn pool(run: u64, length: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = crate::base::random::Random::new(run);
    (0..length).map(|_| ALPHABET[(random.next() >> 58) as usize]).collect()
}

fn write_decimal(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn write_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number: u64, &digit| {
        Some(number << 4 | u64::from(char::from(digit).to_digit(16)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { worker: 0xabc, sequence: 0x0102_03ff };

    fn body(request: &[u8]) -> (String, serde_json::Value) {
        let text = std::str::from_utf8(request).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        (head.to_owned(), serde_json::from_str(body).expect("JSON"))
    }

    #[test]
    fn data_has_exactly_the_size_and_names_its_origin() {
        for size in [DATA_BYTES_MIN, DATA_BYTES_MIN + 1, 256, 10_000] {
            let payload = Payload::new(0xfeed, size).expect("a valid size");
            let mut request =
                PostRequest::new(&payload, &Fields::new("h", None), "/changes", 1, &[])
                    .expect("built");
            let bytes = request.fill(&payload, ORIGIN, 0).to_vec();
            let (_, json) = body(&bytes);
            assert_eq!(json["data"]["run"], "000000000000feed");
            assert_eq!(json["data"]["worker"], "0abc");
            assert_eq!(json["data"]["seq"], "010203ff");
            let start = bytes.len() - size - 1;
            let data = &bytes[start..bytes.len() - 1];
            assert_eq!(payload.origin(data), Some(ORIGIN));
            assert!(payload.matches(data, ORIGIN, &mut Vec::new()));
            let mut damaged = data.to_vec();
            damaged[size - 3] ^= 1;
            assert!(!payload.matches(&damaged, ORIGIN, &mut Vec::new()));
        }
        assert!(Payload::new(1, DATA_BYTES_MIN - 1).is_err());
    }

    #[test]
    fn a_batch_is_an_array_of_consecutive_changes() {
        let payload = Payload::new(7, 100).expect("a valid size");
        let tags = vec!["a\"b".to_owned()];
        let mut request =
            PostRequest::new(&payload, &Fields::new("h:1", None), "/x{list}/y", 3, &tags)
                .expect("built");
        let (head, json) = body(request.fill(&payload, ORIGIN, 1_042));
        assert!(head.starts_with("POST /x001042/y HTTP/1.1\r\nHost: h:1\r\n"), "{head}");
        let changes = json.as_array().expect("an array");
        assert_eq!(changes.len(), 3);
        assert_eq!(changes[2]["data"]["seq"], "01020401");
        assert_eq!(changes[2]["tags"][0], "a\"b");
        assert_eq!(changes[1]["data"].to_string().len(), 100);
    }

    #[test]
    fn data_of_another_run_has_no_origin() {
        let (ours, theirs) = (Payload::new(1, 99).expect("valid"), Payload::new(2, 99));
        assert_eq!(ours.origin(&theirs.expect("valid").template), None);
        assert_eq!(ours.origin(b"{}"), None);
        assert_eq!(ours.origin(b""), None);
    }
}
