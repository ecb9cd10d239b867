//! The parameters of a read of something that is no list of changes.

use std::time::Duration;

use super::parameter::{
    Consistency, invalid, once, read_block, read_bool, read_cluster, read_consistency, read_id,
    read_limit, unknown,
};
use crate::{
    api::error::{ApiError, excerpt},
    base::ids::{ChangeId, ClusterId},
};

/// The parameters of a read of something that is no list of changes. Which of
/// them it has is for [`parse`](Self::parse) to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadQuery<'q> {
    /// `after`, or `last`: only what comes after this name or key.
    pub after: Option<&'q str>,
    /// `prefix`: only keys that begin with this.
    pub prefix: Option<&'q str>,
    /// `limit`, 1 to `READ_LIMIT_MAX`.
    pub limit: Option<usize>,
    /// `since`: only a version, or changes of keys, after this id.
    pub since: Option<ChangeId>,
    /// `block`, at most `BLOCK_MAX`.
    pub block: Option<Duration>,
    /// `if_absent=wait`: a key that is not there is waited for.
    pub waits_if_absent: bool,
    /// `follow`: whether the changes follow that come later.
    pub follow: bool,
    /// `cursors`: whether lines say how far they have come.
    pub cursors: bool,
    /// `min_id`.
    pub min_id: Option<ChangeId>,
    /// `consistency`.
    pub consistency: Consistency,
    /// `cluster`: the history that the ids are of.
    pub cluster: Option<ClusterId>,
}

/// What a read is of, which says which parameters it has besides `min_id`,
/// `consistency` and `cluster`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOf {
    /// One resource: no others.
    One,
    /// A list of names: `after`, `limit`.
    Names,
    /// A list of keys: `after` or `last`, `limit`, `prefix`, `since`, `block`.
    Keys,
    /// A key: `since`, `block`, `if_absent`.
    Key,
    /// All live keys: `after`, `follow`, `cursors`.
    State,
}

impl<'q> ReadQuery<'q> {
    /// Reads percent-decoded pairs of name and value.
    ///
    /// # Errors
    /// `Code::InvalidParameter`, naming the parameter, its value and its range.
    pub fn parse(
        of: ReadOf,
        pairs: impl IntoIterator<Item = (&'q str, &'q str)>,
    ) -> Result<Self, ApiError> {
        let (mut limit, mut since, mut block) = (None, None, None);
        let (mut min_id, mut consistency, mut cluster) = (None, None, None);
        let (mut if_absent, mut follow, mut cursors) = (None, None, None);
        let mut query = Self::default();
        for (name, value) in pairs {
            match (name, of) {
                ("min_id", _) => once(&mut min_id, "min_id", value, read_id)?,
                ("consistency", _) => {
                    once(&mut consistency, "consistency", value, read_consistency)?;
                }
                ("cluster", _) => once(&mut cluster, "cluster", value, read_cluster)?,
                ("limit", ReadOf::Names | ReadOf::Keys) => {
                    once(&mut limit, "limit", value, read_limit)?;
                }
                ("after", ReadOf::Names | ReadOf::Keys | ReadOf::State)
                | ("last", ReadOf::Keys) => {
                    if query.after.is_some() {
                        let detail = "parameter \"after\" or \"last\" is given twice: they are one";
                        return Err(invalid(name, detail.into()));
                    }
                    query.after = Some(value);
                }
                ("prefix", ReadOf::Keys) => {
                    if query.prefix.is_some() {
                        let detail = "parameter \"prefix\" is given twice".into();
                        return Err(invalid("prefix", detail));
                    }
                    query.prefix = Some(value);
                }
                ("since", ReadOf::Key | ReadOf::Keys) => {
                    once(&mut since, "since", value, read_id)?;
                }
                ("block", ReadOf::Key | ReadOf::Keys) => {
                    once(&mut block, "block", value, read_block)?;
                }
                ("if_absent", ReadOf::Key) => {
                    once(&mut if_absent, "if_absent", value, read_if_absent)?;
                }
                ("follow", ReadOf::State) => once(&mut follow, "follow", value, read_bool)?,
                ("cursors", ReadOf::State) => once(&mut cursors, "cursors", value, read_bool)?,
                _ => return Err(unknown(name)),
            }
        }
        if let Some(after) = query.after.filter(|_| of == ReadOf::Keys && since.is_some()) {
            let detail = format!(
                "parameter \"after\" is {:?}, and has no meaning beside \"since\"",
                excerpt(after)
            );
            return Err(invalid("after", detail));
        }
        query.waits_if_absent = if_absent.is_some();
        let waits = since.is_some() || min_id.is_some() || query.waits_if_absent;
        if block.is_some_and(|block: Duration| !block.is_zero()) && !waits {
            let which = if of == ReadOf::Key { "\"since\", \"if_absent\"" } else { "\"since\"" };
            let detail = format!(
                "parameter \"block\" has a meaning beside {which} or \"min_id\" only: they say for what to wait"
            );
            return Err(invalid("block", detail));
        }
        query.follow = follow.unwrap_or_default();
        query.cursors = cursors.unwrap_or_default();
        let consistency = consistency.unwrap_or_default();
        Ok(Self { limit, since, block, min_id, consistency, cluster, ..query })
    }
}

fn read_if_absent(value: &str) -> Result<(), &'static str> {
    if value == "wait" { Ok(()) } else { Err("wait") }
}
