//! A log as it was written, and then damaged: bits, sectors and files.

use super::{
    Opened,
    image::{Choices, Image, Written},
    open,
};

/// What a disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// So many groups at most, and so many faults.
const GROUPS_MAX: u8 = 48;
const FAULTS_MAX: u8 = 4;

/// A log of up to 48 groups that is damaged in up to four places.
///
/// # Panics
/// When a damaged log is opened without something that was acknowledged: the last
/// write may have been under way and never acknowledged, everything before it was
/// not, as far as anything of what came later is left to tell of it.
pub fn log_damage(input: &[u8]) {
    let mut choices = Choices(input);
    let mut image = Image::new();
    let first = choices.byte();
    let groups = 1 + first % GROUPS_MAX;
    for _ in 0..groups {
        if !image.write(&mut choices) {
            break;
        }
    }
    if first & 128 != 0 {
        image.prepare();
    }
    let sound = image.segments.clone();
    for _ in 0..choices.byte() % (FAULTS_MAX + 1) {
        damage(&mut image.segments, &mut choices);
    }
    // What is gone reads as zeros.
    let changed = |group: &Written, bytes: usize| {
        let range = group.offset..group.offset + bytes;
        let now = image.segments.get(group.segment).and_then(|now| now.get(range.clone()));
        sound.get(group.segment).and_then(|sound| sound.get(range)) != now
    };
    let disk = image.disk();
    let Some(opened) = open(&disk) else {
        assert!(image.segments != sound, "a sound log is refused");
        return;
    };
    assert_eq!(open(&disk).as_ref(), Some(&opened), "opened again it is another one");
    // The groups that came before what is lost, from all down to none.
    let all = image.groups.len();
    let mut lost_whole = true;
    for kept in (0..=all).rev() {
        if is_with(&opened, kept.checked_sub(1).and_then(|n| image.groups.get(n))) {
            return;
        }
        // One less may be kept if this one is not whole, and what comes after it
        // cannot tell.
        let Some(lost) = kept.checked_sub(1).and_then(|n| image.groups.get(n)) else { break };
        assert!(
            lost_whole && changed(lost, lost.bytes),
            "group {kept} of {all} is cut: {opened:?}"
        );
        lost_whole = changed(lost, SECTOR);
    }
    panic!("what is opened was never written: {opened:?}");
}

/// Whether that is the log as it was when this group had been written.
fn is_with(opened: &Opened, group: Option<&Written>) -> bool {
    let Some(group) = group else {
        return opened.last.is_none() && opened.vote.is_none();
    };
    let (replayed, recent) = group.entries();
    let last = group.entries.last().map(|entry| entry.id);
    opened.vote == group.state.vote
        && opened.committed == group.state.committed
        && opened.purged == group.state.purged
        && opened.last == last
        && opened.replayed == replayed
        && opened.recent == recent
}

/// What a checksum of 32 bits finds for certain, and what disks do to sectors.
fn damage(segments: &mut Vec<Vec<u8>>, choices: &mut Choices<'_>) {
    let (kind, n, at) = (choices.byte(), usize::from(choices.byte()), choices.word());
    let count = segments.len();
    if count == 0 {
        return;
    }
    let n = n % count;
    let bytes = segments[n].len();
    if bytes == 0 {
        return;
    }
    let at = at % bytes;
    let sector = at - at % SECTOR;
    match kind % 6 {
        0 => {
            let burst = [choices.byte(), choices.byte(), choices.byte(), choices.byte()];
            segments[n].iter_mut().skip(at).zip(burst).for_each(|(byte, flips)| *byte ^= flips);
        }
        1 => segments[n][sector..sector + SECTOR].fill(0),
        2 => {
            let (from, other) = (choices.word(), usize::from(choices.byte()) % count);
            let from = from / SECTOR * SECTOR;
            if let Some(copy) = segments[other].get(from..from + SECTOR).map(<[u8]>::to_vec) {
                segments[n][sector..sector + SECTOR].copy_from_slice(&copy);
            }
        }
        3 => segments[n][sector..].fill(0),
        4 => segments[n].truncate(sector),
        _ if n + 1 == count => {
            segments.pop();
        }
        // A file within is missing: the others keep their names.
        _ => segments[n].clear(),
    }
}
