//! One pass over a body: forms, members, rendering.

use super::error::{BodyError, Fault};
use super::scope::{Members, Scope};
use super::{ChangeBody, Shape};
use crate::api::content_type::Form;
use crate::api::error::excerpt;
use crate::api::json::{JsonError, Reason, Scanner, StringSpan, ValueSpan, compact, unescape};
use crate::base::batch::{Append, ChangeSpan, Conditions, TAIL_OVERHEAD_BYTES, TailMembers};
use crate::base::json_string::write_json_string;
use crate::base::limits::{KEY_BYTES_MAX, Limits, TAG_BYTES_MAX, TAGS_MAX};
use crate::base::names::{Named, is_key};
use crate::state::index::Catalog;
use smallvec::SmallVec;
use std::borrow::Cow;
use uuid::Uuid;

/// No character has a longer spelling than `\u0000`.
const SPELLING_BYTES_MAX: usize = 6;
/// The longest text between the brackets of `tags`, with quotes and commas.
const TAGS_BYTES_MAX: usize = TAGS_MAX * (TAG_BYTES_MAX * SPELLING_BYTES_MAX + 3);
/// Enough for most, so that their text is allocated once.
const TAGS_BYTES_USUAL: usize = 256;
/// `ChangeSpan` holds the places and lengths of keys and tags as `u16`; these
/// bounds are why the casts are exact.
const _: () = assert!(TAGS_BYTES_MAX <= u16::MAX as usize);
const _: () =
    assert!(TAIL_OVERHEAD_BYTES + KEY_BYTES_MAX * SPELLING_BYTES_MAX + 2 <= u16::MAX as usize);

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
    fn of(name: &str, members: Members) -> Option<Self> {
        let known = match name {
            "data" => Self::Data,
            "tags" => Self::Tags,
            "tenant" => Self::Tenant,
            "collection" => Self::Collection,
            "key" => Self::Key,
            _ => return None,
        };
        let allowed = match members {
            Members::Change => true,
            Members::Item => !matches!(known, Self::Tenant | Self::Collection),
            Members::Value => matches!(known, Self::Data | Self::Tags),
        };
        allowed.then_some(known)
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

/// The members of a change, as they were found.
#[derive(Default)]
struct Read<'a> {
    /// With its place.
    tenant: Option<(usize, Cow<'a, str>)>,
    /// With its place.
    collection: Option<(usize, Uuid)>,
    key: Option<Cow<'a, str>>,
    data: Option<ValueSpan>,
}

/// A body being read. After an error it is dropped with all it has rendered.
pub(super) struct Reader<'a> {
    text: &'a str,
    limits: &'a Limits,
    scope: &'a Scope,
    catalog: &'a Catalog,
    /// The change being read, in a batch.
    index: Option<usize>,
    /// The first name that does not exist, or belongs to another tenant.
    unresolved: Option<BodyError>,
    /// The last name of a tenant that was looked up.
    looked_up: Option<(Box<str>, Uuid)>,
    by_name: bool,
    /// The tags of the change being read, rendered.
    tags: Vec<u8>,
    spans: SmallVec<[ChangeSpan; 1]>,
    tails: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// `text` must be shorter than 4 GiB: offsets of tails are `u32`.
    pub(super) fn new(
        text: &'a str,
        limits: &'a Limits,
        scope: &'a Scope,
        catalog: &'a Catalog,
    ) -> Self {
        Self {
            text,
            limits,
            scope,
            catalog,
            index: None,
            unresolved: None,
            looked_up: None,
            by_name: false,
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
        match self.unresolved {
            Some(unresolved) => Err(unresolved),
            None => {
                // A boxed slice holds no spare memory for as long as it is shared.
                let tails = self.tails.into_boxed_slice().into();
                let append = Append { spans: self.spans, tails, conditions: Conditions::default() };
                Ok(ChangeBody { shape, by_name: self.by_name, append })
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
                Known::Tenant => read.tenant = Some(self.tenant(scan)?),
                Known::Collection => read.collection = Some(self.collection(scan)?),
                Known::Key => read.key = Some(self.key(scan)?),
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
        let missing = match self.scope.members {
            _ if read.data.is_none() => Some("data"),
            Members::Item if read.key.is_none() => Some("key"),
            Members::Change if read.key.is_some() && read.collection.is_none() => {
                Some("collection")
            }
            _ => None,
        };
        if let Some(member) = missing {
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

    /// Reads a `tenant`: a UUID or a name.
    fn tenant(&self, scan: &mut Scanner<'_>) -> Result<(usize, Cow<'a, str>), BodyError> {
        let at = scan.at();
        let expected = "a string";
        let name = self.string(scan, Fault::Type { member: "tenant", expected })?;
        match Named::parse(&name) {
            Some(_) => Ok((at, name)),
            None => Err(self.fault(at, Fault::Name)),
        }
    }

    /// Reads a `collection`: a UUID.
    fn collection(&self, scan: &mut Scanner<'_>) -> Result<(usize, Uuid), BodyError> {
        let at = scan.at();
        let expected = "a string";
        let text = self.string(scan, Fault::Type { member: "collection", expected })?;
        match Named::parse(&text) {
            Some(Named::Id(id)) => Ok((at, id)),
            _ => Err(self.fault(at, Fault::Uuid)),
        }
    }

    fn key(&self, scan: &mut Scanner<'_>) -> Result<Cow<'a, str>, BodyError> {
        let at = scan.at();
        let key = self.string(scan, Fault::Type { member: "key", expected: "a string" })?;
        if is_key(&key) { Ok(key) } else { Err(self.fault(at, Fault::Key)) }
    }

    /// Finds what a change names, and renders it unless a name does not exist:
    /// that is reported when nothing else is wrong in the whole body.
    fn resolve_and_render(&mut self, read: &Read<'a>) {
        if self.unresolved.is_some() {
            return;
        }
        let Some(data) = read.data else { return };
        match self.resolve(read) {
            Ok((tenant, collection)) => {
                let key = read.key.as_deref().or(self.scope.key.as_deref());
                self.render(tenant, collection, key, data);
            }
            Err(error) => self.unresolved = Some(error),
        }
    }

    /// The tenant and the collection of a change.
    fn resolve(&mut self, read: &Read<'a>) -> Result<(Option<Uuid>, Option<Uuid>), BodyError> {
        let mut tenant = self.scope.tenant;
        if let Some((at, name)) = &read.tenant {
            let named = self.tenant_named(*at, name)?;
            if tenant.is_some_and(|tenant| tenant != named) {
                return Err(self.fault(*at, Fault::TenantMismatch { member: "tenant" }));
            }
            tenant = Some(named);
        }
        let Some((at, id)) = read.collection else { return Ok((tenant, self.scope.collection)) };
        let Some(collection) = self.catalog.collection(id) else {
            let value = id.to_string();
            return Err(self.fault(at, Fault::NotFound { member: "collection", value }));
        };
        if tenant.is_some_and(|tenant| tenant != collection.tenant) {
            return Err(self.fault(at, Fault::TenantMismatch { member: "collection" }));
        }
        Ok((Some(collection.tenant), Some(id)))
    }

    fn tenant_named(&mut self, at: usize, name: &str) -> Result<Uuid, BodyError> {
        if let Some((known, id)) = &self.looked_up
            && **known == *name
        {
            return Ok(*id);
        }
        let tenant = match Named::parse(name) {
            Some(Named::Id(id)) => self.catalog.tenant(id),
            Some(Named::Name(name)) => {
                self.by_name = true;
                self.catalog.tenant_named(name)
            }
            None => None,
        };
        let Some(tenant) = tenant else {
            let value = name.to_owned();
            return Err(self.fault(at, Fault::NotFound { member: "tenant", value }));
        };
        self.looked_up = Some((name.into(), tenant.id));
        Ok(tenant.id)
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

    fn render(
        &mut self,
        tenant: Option<Uuid>,
        collection: Option<Uuid>,
        key: Option<&str>,
        data: ValueSpan,
    ) {
        assert!(self.tags.len() <= TAGS_BYTES_MAX, "the rules for tags bound their text");
        let members = TailMembers { tenant, collection, key, tags: &self.tags };
        // A batch has reserved for most of its changes at once.
        self.tails.reserve(members.bytes_max() + data.compact_bytes());
        let sent = self.text.as_bytes().get(data.start..data.end).unwrap_or_default();
        let span = members.write(&mut self.tails, |out| match data.spaces {
            0 => out.extend_from_slice(sent),
            _ => compact(out, sent),
        });
        self.spans.push(span);
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
