//! Reads back what a fill has created.

use anyhow::{Context, Result};

use super::{COLLECTIONS, Stage, TENANTS, collection, tenant};
use crate::answers::page;
use crate::args::FillArguments;
use crate::http::control::Control;
use crate::load::payload::LIST_DIGITS;
use crate::measure::verification::{Verification, Violation};

/// Entries of one page that is read back.
const PAGE_ENTRIES_MAX: u32 = 10_000;

/// Which of the numbers below a count were found.
#[derive(Debug)]
struct Found {
    what: &'static str,
    seen: Vec<bool>,
    result: Verification,
}

/// Checks that everything of a stage is there, each once.
pub(super) fn verify(
    control: &mut Control,
    stage: Stage,
    arguments: &FillArguments,
) -> Result<Verification> {
    control.newest_when_up("/changes")?;
    match stage {
        Stage::Tenants => names(control, "/tenants", TENANTS, "tenant", arguments.tenants),
        Stage::Collections => {
            let path = format!("/tenants/{}/collections", tenant(TENANTS, 0));
            names(control, &path, COLLECTIONS, "collection", arguments.collections)
        }
        Stage::Keys => keys(control, arguments),
    }
}

/// Reads a list of names page by page.
fn names(
    control: &mut Control,
    path: &str,
    prefix: &str,
    what: &'static str,
    count: u64,
) -> Result<Verification> {
    let mut found = Found::new(what, count)?;
    let mut after = String::new();
    loop {
        let path = format!("{path}?limit={PAGE_ENTRIES_MAX}&after={after}");
        let body = control.get(&path)?;
        let page = page::parse_names(body).with_context(|| format!("GET {path}: no page"))?;
        for entry in &page.entries {
            let digits = entry.name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
            match digits.filter(|digits| digits.len() >= LIST_DIGITS) {
                Some(digits) => found.take(digits.parse().ok()),
                None => found.take(None),
            }
        }
        match page.entries.last() {
            Some(last) if !page.at_end => after = last.name.clone().into_owned(),
            _ => return Ok(found.finish()),
        }
    }
}

/// Reads the keys of every collection page by page.
fn keys(control: &mut Control, arguments: &FillArguments) -> Result<Verification> {
    let mut found = Found::new("key", arguments.keys)?;
    for number in 0..arguments.collections {
        let parent = tenant(TENANTS, 0);
        let path = format!("/tenants/{parent}/collections/{}/keys", collection(number));
        let mut after = String::new();
        loop {
            let path = format!("{path}?limit={PAGE_ENTRIES_MAX}&after={after}");
            let body = control.get(&path)?;
            let page = page::parse_keys(body).with_context(|| format!("GET {path}: no page"))?;
            for change in &page.keys {
                let name = change.key.as_deref().unwrap_or_default();
                let key = name.strip_prefix("key-").and_then(|digits| digits.parse::<u64>().ok());
                // Each request wrote its keys to one collection.
                let here = key.filter(|key| {
                    key / u64::from(arguments.batch) % arguments.collections == number
                });
                let data = here.map(|key| format!("{{\"n\":{key}}}"));
                if data.is_some_and(|data| data.as_bytes() != change.data()) {
                    found.result.violate(Violation::WrongKey, || format!("{name} is changed"));
                }
                found.take(here);
            }
            match page.keys.last().and_then(|change| change.key.as_deref()) {
                Some(last) if !page.at_end => after = last.to_owned(),
                _ => break,
            }
        }
    }
    Ok(found.finish())
}

impl Found {
    fn new(what: &'static str, count: u64) -> Result<Self> {
        let result = Verification { acknowledged: count, ..Verification::default() };
        Ok(Self { what, seen: vec![false; usize::try_from(count)?], result })
    }

    /// Takes the next that was read; `None` for one that was not created here.
    fn take(&mut self, number: Option<u64>) {
        self.result.changes_read += 1;
        let slot = number
            .and_then(|number| usize::try_from(number).ok())
            .and_then(|number| self.seen.get_mut(number));
        match slot {
            None => self.result.foreign += 1,
            Some(seen) if *seen => {
                let what = self.what;
                self.result
                    .violate(Violation::Duplicated, || format!("{what} {number:?} is there twice"));
            }
            Some(seen) => {
                *seen = true;
                self.result.found += 1;
            }
        }
    }

    fn finish(mut self) -> Verification {
        for number in (0..self.seen.len()).filter(|&number| !self.seen[number]) {
            let what = self.what;
            self.result.violate(Violation::Lost, || format!("{what} {number} is not there"));
        }
        self.result.conclude()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_there_twice_is_noticed() {
        let mut found = Found::new("key", 4).expect("few");
        for number in [Some(0), Some(2), None, Some(2), Some(9), Some(3)] {
            found.take(number);
        }
        let result = found.finish();
        assert_eq!((result.found, result.foreign, result.passed), (3, 2, false));
        let violations: Vec<_> = result.violations.into_iter().collect();
        assert_eq!(violations, [(Violation::Lost, 1), (Violation::Duplicated, 1)]);
    }
}
