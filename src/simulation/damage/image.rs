//! A data directory as bytes, and what may be missing of the list when it was changed.

use std::collections::BTreeMap;

use crate::io::BLOCK;

const GROUP_MAGIC: &[u8] = b"CAg\x01";
const SEGMENT_MAGIC: &[u8] = b"CAGTLOG\n";

/// The files of a directory by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A directory as a node left it.
pub struct Image {
    pub files: Files,
    /// The newest segment with a header, and where the last group of it begins.
    active: String,
    last_group: usize,
}

fn is_segment(name: &str) -> bool {
    name.ends_with(".seg")
}

impl Image {
    pub fn new(files: Files) -> Self {
        let used = |(name, bytes): &(&String, &Vec<u8>)| {
            is_segment(name) && bytes.starts_with(SEGMENT_MAGIC)
        };
        let (active, bytes) = files.iter().rfind(used).expect("a segment");
        let last_group = groups(bytes).last().expect("a group");
        Self { active: active.clone(), last_group, files }
    }

    /// The files that a node which runs on the directory does not write any more.
    pub fn at_rest(&self) -> Files {
        // A state is replaced by a newer one.
        let is_written =
            |name: &String| is_segment(name) && *name >= self.active || name.ends_with(".state");
        let files = self.files.iter().filter(|(name, _)| !is_written(name));
        files.map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
    }

    /// Where less than the whole list may be served of `damaged`: the last change that must be
    /// there all the same. What follows the last group looks like a write that was cut short when
    /// that group does, and the newest segments look like none when they are gone.
    pub fn must_hold(&self, damaged: &Files, changes: &BTreeMap<u64, String>) -> Option<u64> {
        let there = |name: &String| damaged.contains_key(name);
        let segments: Vec<&String> = self.files.keys().filter(|name| is_segment(name)).collect();
        let gone = segments.iter().rev().take_while(|name| !there(name)).count();
        let is_gap = segments[..segments.len() - gone].iter().any(|name| !there(name));
        if gone > 0 && !is_gap && segments[segments.len() - gone..].contains(&&self.active) {
            let kept = segments[..segments.len() - gone].to_vec();
            return Some(self.last_within(changes, |name, _| kept.contains(&name)));
        }
        let (before, after) = (&self.files[&self.active], damaged.get(&self.active)?);
        let length = before.len().max(after.len());
        let differs = |at: &usize| before.get(*at) != after.get(*at);
        let first = (0..length).find(differs)?;
        let last = (0..length).rev().find(differs)?;
        if last < self.last_group {
            return None;
        }
        // The group that the first byte is in, and all before it.
        let group = groups(before).take_while(|start| *start <= first).last().unwrap_or(0);
        Some(self.last_within(changes, |name, at| {
            name < &self.active || (name == &self.active && at < group)
        }))
    }

    /// The last change that lies in such a place, the file and the byte; of every change up to
    /// that one.
    fn last_within(
        &self,
        changes: &BTreeMap<u64, String>,
        is_kept: impl Fn(&String, usize) -> bool,
    ) -> u64 {
        let is_held = |change: &String| {
            let text = text_of(change);
            let found = self.files.iter().filter(|(name, _)| is_segment(name));
            let mut found = found.filter_map(|(name, bytes)| Some((name, find(bytes, text)?)));
            found.any(|(name, at)| is_kept(name, at))
        };
        let held = changes.iter().take_while(|(_, change)| is_held(change));
        held.last().map_or(0, |(id, _)| *id)
    }
}

/// What follows the timestamp of a change, as it is stored.
fn text_of(change: &str) -> &[u8] {
    let stamp = change.find("\"_ts\":").expect("a timestamp");
    let end = change[stamp..].find(',').expect("more members");
    &change.as_bytes()[stamp + end..]
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// Where groups begin in a segment.
fn groups(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let starts = (BLOCK..bytes.len()).step_by(BLOCK);
    starts.filter(|start| bytes[*start..].starts_with(GROUP_MAGIC))
}
