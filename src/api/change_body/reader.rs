//! One pass over a body: forms, members, rendering.

use super::error::{BodyError, Fault};
use super::{ChangeBody, Shape};
use crate::api::content_type::Form;
use crate::api::error::excerpt;
use crate::api::json::{JsonError, Reason, Scanner, StringSpan, ValueSpan, compact, unescape};
use crate::base::batch::{Append, ChangeSpan, write_json_string};
use crate::base::limits::{KEY_BYTES_MAX, Limits, NAME_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX};
use smallvec::SmallVec;
use std::borrow::Cow;

const TAGS_OPEN: &[u8] = b",\"tags\":[";
const TAGS_CLOSE: &[u8] = b"]";
const DATA: &[u8] = b",\"data\":";
const CLOSE: &[u8] = b"}";

/// No character has a longer spelling than `\u0000`.
const SPELLING_BYTES_MAX: usize = 6;
/// The longest text between the brackets of `tags`, with quotes and commas.
const TAGS_BYTES_MAX: usize = TAGS_MAX * (TAG_BYTES_MAX * SPELLING_BYTES_MAX + 3);
/// Enough for most, so that their text is allocated once.
const TAGS_BYTES_USUAL: usize = 256;
/// The longest text that can ever stand before `tags`: two UUIDs and a key.
const BEFORE_TAGS_BYTES_MAX: usize =
    ",\"tenant\":,\"collection\":,\"key\":".len() + 2 * 38 + KEY_BYTES_MAX * SPELLING_BYTES_MAX + 2;
/// `ChangeSpan` holds both as `u16`; these bounds are why the casts are exact.
const _: () = assert!(TAGS_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(BEFORE_TAGS_BYTES_MAX + TAGS_OPEN.len() <= u16::MAX as usize);

/// The members of a change, as bits of those already seen.
#[derive(Clone, Copy)]
enum Known {
    Tenant = 1,
    Collection = 2,
    Key = 4,
    Tags = 8,
    Data = 16,
}

impl Known {
    fn of(name: &str) -> Option<Self> {
        match name {
            "data" => Some(Self::Data),
            "tags" => Some(Self::Tags),
            "tenant" => Some(Self::Tenant),
            "collection" => Some(Self::Collection),
            "key" => Some(Self::Key),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Tags => "tags",
            Self::Tenant => "tenant",
            Self::Collection => "collection",
            Self::Key => "key",
        }
    }
}

/// A body being read. After an error it is dropped with all it has rendered.
pub(super) struct Reader<'a> {
    text: &'a str,
    limits: &'a Limits,
    /// The change being read, in a batch.
    index: Option<usize>,
    /// The first name that does not exist.
    absent: Option<BodyError>,
    /// The tags of the change being read, rendered.
    tags: Vec<u8>,
    spans: SmallVec<[ChangeSpan; 1]>,
    tails: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// `text` must be shorter than 4 GiB: offsets of tails are `u32`.
    pub(super) fn new(text: &'a str, limits: &'a Limits) -> Self {
        Self {
            text,
            limits,
            index: None,
            absent: None,
            tags: Vec::new(),
            spans: SmallVec::new(),
            tails: Vec::new(),
        }
    }

    pub(super) fn read(mut self, form: Form) -> Result<ChangeBody, BodyError> {
        let mut scan = Scanner::new(self.text.as_bytes());
        scan.start().map_err(|error| self.json(error))?;
        let shape = match form {
            Form::Json => self.json_body(&mut scan)?,
            Form::Ndjson => self.lines()?,
        };
        match self.absent {
            Some(absent) => Err(absent),
            None => {
                debug_assert!(self.tails.len() <= self.text.len());
                // A boxed slice holds no spare memory for as long as it is shared.
                let tails = self.tails.into_boxed_slice().into();
                Ok(ChangeBody { shape, append: Append { spans: self.spans, tails } })
            }
        }
    }

    fn json_body(&mut self, scan: &mut Scanner<'_>) -> Result<Shape, BodyError> {
        let shape = match scan.peek() {
            Some(b'{') => {
                self.change(scan)?;
                Shape::One
            }
            Some(b'[') => {
                self.array(scan)?;
                Shape::Many
            }
            _ => return Err(self.unlike(scan, Fault::NoChanges)),
        };
        scan.finish().map_err(|error| self.json(error))?;
        Ok(shape)
    }

    fn array(&mut self, scan: &mut Scanner<'_>) -> Result<(), BodyError> {
        let start = scan.at();
        scan.accept(b'[');
        scan.spaces();
        if scan.accept(b']') {
            return Err(self.fault(start, Fault::Empty));
        }
        self.tails.reserve_exact(self.text.len());
        loop {
            self.next_change(scan)?;
            scan.spaces();
            if scan.accept(b']') {
                return Ok(());
            }
            if !scan.accept(b',') {
                self.index = None;
                return Err(self.json(scan.wrong(Reason::InArray)));
            }
            scan.spaces();
        }
    }

    fn lines(&mut self) -> Result<Shape, BodyError> {
        self.tails.reserve_exact(self.text.len());
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            let end = start + line.strip_suffix('\n').unwrap_or(line).len();
            let before = self.text.as_bytes().get(..end).unwrap_or_default();
            let mut scan = Scanner::starting_at(before, start);
            scan.spaces();
            if scan.peek().is_some() {
                self.next_change(&mut scan)?;
                scan.finish().map_err(|error| self.json(error))?;
            }
            start += line.len();
        }
        if self.index.is_none() {
            return Err(self.fault(self.text.len(), Fault::Empty));
        }
        Ok(Shape::Many)
    }

    fn next_change(&mut self, scan: &mut Scanner<'_>) -> Result<(), BodyError> {
        let index = self.index.map_or(0, |index| index + 1);
        if index == self.limits.batch_changes {
            self.index = None;
            return Err(self.fault(scan.at(), Fault::TooManyChanges(index)));
        }
        self.index = Some(index);
        self.change(scan)
    }

    /// Reads the object under the cursor and renders its tail.
    fn change(&mut self, scan: &mut Scanner<'_>) -> Result<(), BodyError> {
        let start = scan.at();
        if scan.peek() != Some(b'{') {
            return Err(self.unlike(scan, Fault::NoObject));
        }
        scan.accept(b'{');
        scan.spaces();
        self.tags.clear();
        let mut seen = 0;
        let mut data = None;
        while !(seen == 0 && scan.accept(b'}')) {
            let at = scan.at();
            let known = self.member(scan)?;
            if seen & known as u8 != 0 {
                return Err(self.fault(at, Fault::Duplicate(known.name())));
            }
            seen |= known as u8;
            match known {
                Known::Data => data = Some(self.data(scan)?),
                Known::Tags => self.read_tags(scan)?,
                Known::Tenant | Known::Collection => self.name(scan, known.name())?,
                Known::Key => self.key(scan)?,
            }
            scan.spaces();
            if scan.accept(b'}') {
                break;
            }
            if !scan.accept(b',') {
                return Err(self.json(scan.wrong(Reason::InObject)));
            }
            scan.spaces();
        }
        let Some(data) = data else {
            return Err(self.fault(start, Fault::MissingMember("data")));
        };
        if seen & Known::Key as u8 != 0 && seen & Known::Collection as u8 == 0 {
            return Err(self.fault(start, Fault::MissingMember("collection")));
        }
        self.render(data);
        Ok(())
    }

    fn member(&mut self, scan: &mut Scanner<'_>) -> Result<Known, BodyError> {
        let at = scan.at();
        let name = scan.name().map_err(|error| self.json(error))?;
        let name = self.characters(name)?;
        Known::of(&name).ok_or_else(|| self.fault(at, Fault::UnknownMember(excerpt(&name))))
    }

    fn data(&self, scan: &mut Scanner<'_>) -> Result<ValueSpan, BodyError> {
        let data = scan.value(self.limits.json_depth).map_err(|error| self.json(error))?;
        let (bytes, bytes_max) = (data.compact_bytes(), self.limits.data_bytes);
        if bytes > bytes_max {
            return Err(self.fault(data.start, Fault::DataTooLarge { bytes, bytes_max }));
        }
        Ok(data)
    }

    fn read_tags(&mut self, scan: &mut Scanner<'_>) -> Result<(), BodyError> {
        if scan.peek() != Some(b'[') {
            let expected = "an array of strings";
            return Err(self.unlike(scan, Fault::Type { member: "tags", expected }));
        }
        scan.accept(b'[');
        scan.spaces();
        if scan.accept(b']') {
            return Ok(());
        }
        self.tags.reserve(TAGS_BYTES_USUAL);
        let mut ends: SmallVec<[usize; TAGS_MAX]> = SmallVec::new();
        loop {
            self.tag(scan, &mut ends)?;
            scan.spaces();
            if scan.accept(b']') {
                return Ok(());
            }
            if !scan.accept(b',') {
                return Err(self.json(scan.wrong(Reason::InArray)));
            }
            scan.spaces();
        }
    }

    /// Appends the string under the cursor to the rendered tags; `ends` are
    /// where those before it end.
    fn tag(
        &mut self,
        scan: &mut Scanner<'_>,
        ends: &mut SmallVec<[usize; TAGS_MAX]>,
    ) -> Result<(), BodyError> {
        let at = scan.at();
        let expected = "an array of strings";
        let tag = self.string(scan, Fault::Type { member: "tags", expected })?;
        if tag.is_empty() || tag.len() > TAG_BYTES_MAX {
            return Err(self.fault(at, Fault::Tag));
        }
        if ends.len() == TAGS_MAX {
            return Err(self.fault(at, Fault::Tags));
        }
        if !ends.is_empty() {
            self.tags.push(b',');
        }
        let start = self.tags.len();
        write_json_string(&mut self.tags, &tag);
        let mut from = 0;
        for &end in &*ends {
            if self.tags.get(from..end) == self.tags.get(start..) {
                return Err(self.fault(at, Fault::DuplicateTag(excerpt(&tag))));
            }
            from = end + 1;
        }
        ends.push(self.tags.len());
        Ok(())
    }

    /// Reads a `tenant` or `collection`. There are none yet, so a well-formed
    /// one is noted as absent.
    fn name(&mut self, scan: &mut Scanner<'_>, member: &'static str) -> Result<(), BodyError> {
        let at = scan.at();
        let name = self.string(scan, Fault::Type { member, expected: "a string" })?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(known) {
            return Err(self.fault(at, Fault::Name(member)));
        }
        if self.absent.is_none() {
            let value = name.into_owned();
            self.absent = Some(self.fault(at, Fault::NotFound { member, value }));
        }
        Ok(())
    }

    /// Reads a `key`. Its collection is absent, so nothing is kept of it.
    fn key(&mut self, scan: &mut Scanner<'_>) -> Result<(), BodyError> {
        let at = scan.at();
        let key = self.string(scan, Fault::Type { member: "key", expected: "a string" })?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(self.fault(at, Fault::Key));
        }
        Ok(())
    }

    /// Reads a string that must be Unicode text; another value is `otherwise`.
    fn string(&self, scan: &mut Scanner<'_>, otherwise: Fault) -> Result<Cow<'a, str>, BodyError> {
        if scan.peek() != Some(b'"') {
            return Err(self.unlike(scan, otherwise));
        }
        let string = scan.string().map_err(|error| self.json(error))?;
        self.characters(string)
    }

    fn characters(&self, string: StringSpan) -> Result<Cow<'a, str>, BodyError> {
        let raw = self.text.get(string.start..string.end).unwrap_or_default();
        if !string.escaped {
            return Ok(Cow::Borrowed(raw));
        }
        unescape(raw).map_err(|lone| {
            self.fault(string.start + lone.offset, Fault::Json(Reason::LoneSurrogate))
        })
    }

    fn render(&mut self, data: ValueSpan) {
        let bytes = data.compact_bytes()
            + DATA.len()
            + CLOSE.len()
            + if self.tags.is_empty() {
                0
            } else {
                TAGS_OPEN.len() + self.tags.len() + TAGS_CLOSE.len()
            };
        // A batch has reserved for all its changes at once.
        self.tails.reserve_exact(bytes);
        let (mut tags_at, mut tags_bytes) = (0, 0);
        if !self.tags.is_empty() {
            assert!(self.tags.len() <= TAGS_BYTES_MAX, "the rules for tags bound their text");
            (tags_at, tags_bytes) = (TAGS_OPEN.len() as u16, self.tags.len() as u16);
            self.tails.extend_from_slice(TAGS_OPEN);
            self.tails.extend_from_slice(&self.tags);
            self.tails.extend_from_slice(TAGS_CLOSE);
        }
        self.tails.extend_from_slice(DATA);
        let sent = self.text.as_bytes().get(data.start..data.end).unwrap_or_default();
        if data.spaces == 0 {
            self.tails.extend_from_slice(sent);
        } else {
            compact(&mut self.tails, sent);
        }
        self.tails.extend_from_slice(CLOSE);
        self.spans.push(ChangeSpan { end: self.tails.len() as u32, tags_at, tags_bytes });
    }

    fn json(&self, error: JsonError) -> BodyError {
        self.fault(error.offset, Fault::Json(error.reason))
    }

    #[cold]
    fn fault(&self, offset: usize, fault: Fault) -> BodyError {
        BodyError { offset, index: self.index, fault }
    }

    /// The error for a value of another type under the cursor, unless no value
    /// can start there at all.
    #[cold]
    fn unlike(&self, scan: &Scanner<'_>, fault: Fault) -> BodyError {
        match scan.peek() {
            Some(b'"' | b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.fault(scan.at(), fault)
            }
            _ => self.json(scan.wrong(Reason::Value)),
        }
    }
}
