//! One pass over a body: forms, members, rendering.

use std::borrow::Cow;

use smallvec::SmallVec;
use uuid::Uuid;

use super::{
    accepted::{ChangeBody, Shape},
    error::{BodyError, Fault},
    member::Known,
    names::{Named, Names},
    scope::{Members, Scope},
    tags::{SPELLING_BYTES_MAX, Tags},
};
use crate::{
    api::{
        access::Visible,
        error::excerpt,
        json::{JsonError, Reason, Scanner, StringSpan, ValueSpan, compact, unescape},
        request::content_type::Form,
    },
    base::{
        batch::{Append, ChangeSpan, Conditions, SUFFIX_OVERHEAD_BYTES, SuffixMembers},
        limits::{KEY_BYTES_MAX, Limits},
        names::{self, is_key},
        ttl::Ttl,
    },
};

/// `ChangeSpan` holds the places and lengths of keys as `u16`; this bound is why
/// the casts are exact.
const _: () =
    assert!(SUFFIX_OVERHEAD_BYTES + KEY_BYTES_MAX * SPELLING_BYTES_MAX + 2 <= u16::MAX as usize);

/// The members of a change, as they were found.
#[derive(Default)]
struct Read<'a> {
    named: Named<'a>,
    key: Option<Cow<'a, str>>,
    data: Option<ValueSpan>,
    ttl: Option<Ttl>,
}

impl Read<'_> {
    /// The first member that should be there and is not.
    fn missing(&self, members: Members) -> Option<&'static str> {
        match members {
            _ if self.data.is_none() => Some("data"),
            Members::Item if self.key.is_none() => Some("key"),
            Members::Change if self.ttl.is_some() && self.key.is_none() => Some("key"),
            Members::Change if self.key.is_some() && self.named.collection.is_none() => {
                Some("collection")
            }
            _ => None,
        }
    }
}

/// A body being read. After an error it is dropped with all it has rendered.
pub(super) struct Reader<'a> {
    text: &'a str,
    limits: &'a Limits,
    scope: &'a Scope,
    names: Names<'a>,
    /// The change being read, in a batch.
    index: Option<usize>,
    /// The first name that does not exist, or belongs to another tenant.
    unresolved: Option<BodyError>,
    /// The tags of the change being read.
    tags: Tags,
    spans: SmallVec<[ChangeSpan; 1]>,
    suffixes: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// `text` must be shorter than 4 GiB: offsets of suffixes are `u32`.
    pub(super) fn new(
        text: &'a str,
        limits: &'a Limits,
        scope: &'a Scope,
        visible: Visible<'a>,
    ) -> Self {
        Self {
            text,
            limits,
            scope,
            names: Names::new(scope, visible),
            index: None,
            unresolved: None,
            tags: Tags::default(),
            spans: SmallVec::new(),
            suffixes: Vec::new(),
        }
    }

    pub(super) fn read(mut self, form: Form) -> Result<ChangeBody, BodyError> {
        let mut scan = Scanner::new(self.text.as_bytes());
        scan.start().map_err(|error| self.json(error))?;
        let shape = match form {
            Form::Json => self.json_body(&mut scan)?,
            Form::Ndjson => self.lines()?,
        };
        match self.unresolved {
            Some(unresolved) => Err(unresolved),
            None => {
                // A boxed slice holds no spare memory for as long as it is shared.
                let suffixes = self.suffixes.into_boxed_slice().into();
                let append =
                    Append { spans: self.spans, suffixes, conditions: Conditions::default() };
                let by_name = self.names.is_by_name();
                Ok(ChangeBody { shape, by_name, append, payers: self.names.into_payers() })
            }
        }
    }

    fn json_body(&mut self, scan: &mut Scanner<'_>) -> Result<Shape, BodyError> {
        let shape = match scan.peek() {
            Some(b'{') => {
                self.change(scan)?;
                Shape::One
            }
            Some(b'[') if self.scope.members != Members::Value => {
                self.array(scan)?;
                Shape::Many
            }
            _ if self.scope.members == Members::Value => {
                return Err(self.unlike(scan, Fault::NoValue));
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
        self.suffixes.reserve_exact(self.text.len());
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
        self.suffixes.reserve_exact(self.text.len());
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

    /// Reads the object under the cursor and renders its suffix.
    fn change(&mut self, scan: &mut Scanner<'_>) -> Result<(), BodyError> {
        let start = scan.at();
        if scan.peek() != Some(b'{') {
            return Err(self.unlike(scan, Fault::NoObject));
        }
        scan.accept(b'{');
        scan.spaces();
        self.tags.clear();
        let mut seen = 0;
        let mut read = Read::default();
        while !(seen == 0 && scan.accept(b'}')) {
            let at = scan.at();
            let known = self.member(scan)?;
            if seen & known as u8 != 0 {
                return Err(self.fault(at, Fault::Duplicate(known.name())));
            }
            seen |= known as u8;
            match known {
                Known::Data => read.data = Some(self.data(scan)?),
                Known::Tags => self.read_tags(scan)?,
                Known::Tenant => read.named.tenant = Some(self.tenant(scan)?),
                Known::Collection => read.named.collection = Some(self.collection(scan)?),
                Known::Key => read.key = Some(self.key(scan)?),
                Known::Ttl => read.ttl = Some(self.ttl(scan)?),
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
        if let Some(member) = read.missing(self.scope.members) {
            return Err(self.fault(start, Fault::MissingMember(member)));
        }
        self.resolve_and_render(&read);
        Ok(())
    }

    fn member(&mut self, scan: &mut Scanner<'_>) -> Result<Known, BodyError> {
        let at = scan.at();
        let name = scan.name().map_err(|error| self.json(error))?;
        let name = self.characters(name)?;
        Known::of(&name, self.scope.members)
            .ok_or_else(|| self.fault(at, Fault::UnknownMember(excerpt(&name))))
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
        loop {
            self.tag(scan)?;
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

    fn tag(&mut self, scan: &mut Scanner<'_>) -> Result<(), BodyError> {
        let at = scan.at();
        let expected = "an array of strings";
        let tag = self.string(scan, Fault::Type { member: "tags", expected })?;
        self.tags.push(&tag).map_err(|fault| self.fault(at, fault))
    }

    /// Reads a `tenant`: a UUID or a name.
    fn tenant(&self, scan: &mut Scanner<'_>) -> Result<(usize, Cow<'a, str>), BodyError> {
        let at = scan.at();
        let expected = "a string";
        let name = self.string(scan, Fault::Type { member: "tenant", expected })?;
        match names::Named::parse(&name) {
            Some(_) => Ok((at, name)),
            None => Err(self.fault(at, Fault::Name)),
        }
    }

    /// Reads a `collection`: a UUID.
    fn collection(&self, scan: &mut Scanner<'_>) -> Result<(usize, Uuid), BodyError> {
        let at = scan.at();
        let expected = "a string";
        let text = self.string(scan, Fault::Type { member: "collection", expected })?;
        match names::Named::parse(&text) {
            Some(names::Named::Id(id)) => Ok((at, id)),
            _ => Err(self.fault(at, Fault::Uuid)),
        }
    }

    fn key(&self, scan: &mut Scanner<'_>) -> Result<Cow<'a, str>, BodyError> {
        let at = scan.at();
        let key = self.string(scan, Fault::Type { member: "key", expected: "a string" })?;
        if is_key(&key) { Ok(key) } else { Err(self.fault(at, Fault::Key)) }
    }

    fn ttl(&self, scan: &mut Scanner<'_>) -> Result<Ttl, BodyError> {
        let at = scan.at();
        if !matches!(scan.peek(), Some(b'-' | b'0'..=b'9')) {
            let expected = "a number";
            return Err(self.unlike(scan, Fault::Type { member: "ttl", expected }));
        }
        let number = scan.value(self.limits.json_depth).map_err(|error| self.json(error))?;
        let text = self.text.get(number.start..number.end).unwrap_or_default();
        text.parse().ok().and_then(Ttl::new).ok_or_else(|| self.fault(at, Fault::Ttl))
    }

    /// Finds what a change names, and renders it unless a name does not exist:
    /// that is reported when nothing else is wrong in the whole body.
    fn resolve_and_render(&mut self, read: &Read<'a>) {
        if self.unresolved.is_some() {
            return;
        }
        let Some(data) = read.data else { return };
        match self.names.resolve(&read.named) {
            Ok((tenant, collection)) => {
                let key = read.key.as_deref().or(self.scope.key.as_deref());
                let tags = self.tags.text();
                let members = SuffixMembers { tenant, collection, key, ttl: read.ttl, tags };
                let before = self.suffixes.len();
                render(&mut self.suffixes, &mut self.spans, self.text, members, data);
                if tenant.is_some() {
                    self.names.pay(self.suffixes.len() - before);
                }
            }
            Err((at, fault)) => self.unresolved = Some(self.fault(at, fault)),
        }
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

/// Renders a change whose data is that part of `text`.
fn render(
    suffixes: &mut Vec<u8>,
    spans: &mut SmallVec<[ChangeSpan; 1]>,
    text: &str,
    members: SuffixMembers<'_>,
    data: ValueSpan,
) {
    // A batch has reserved for most of its changes at once.
    suffixes.reserve(members.bytes_max() + data.compact_bytes());
    let sent = text.as_bytes().get(data.start..data.end).unwrap_or_default();
    spans.push(members.write(suffixes, |out| match data.spaces {
        0 => out.extend_from_slice(sent),
        _ => compact(out, sent),
    }));
}
