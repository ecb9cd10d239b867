//! Bugs that a test plants, to prove that the simulation would find them: one at a time, on
//! the thread of the test. `planted!(Name)` stands where the bug would, and is false outside
//! of tests.

/// A bug that may be planted.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A write is acknowledged before it is durable.
    AcknowledgeBeforeDurable,
    /// A vote is given before it is durable.
    SkipVoteDurability,
    /// A log that is damaged is cut there, as if that were a torn tail.
    CutLogAtCorruption,
    /// A spare segment goes by its name before the directory is synced.
    SkipSegmentDirectorySync,
    /// A checkpoint is not synced before it gets its name.
    SkipCheckpointSync,
    /// The directory is not synced after a checkpoint got its name.
    SkipCheckpointDirectorySync,
    /// A file of a backup is not synced before it gets its name.
    SkipBackupSync,
    /// The directory is not synced after a file of a backup got its name.
    SkipBackupDirectorySync,
    /// A segment that is laid out anew says that the next one continues it as it is now.
    LayOutAsLast,
    /// What another member has not erased yet stays in a segment that is put together again.
    KeepRedactedOfMember,
    /// What was erased while a segment was put together again is in it.
    MendOverErased,
    /// A checkpoint that is missing is taken for none.
    GoOnWithoutCheckpoint,
    /// A segment that is missing is passed over.
    SkipMissingSegment,
    /// What another member has not erased yet stays in a checkpoint that it gave.
    KeepRedactedOfCheckpoint,
    /// A checkpoint that another member gave is not held against the one that rotted.
    TakeAnyCheckpoint,
    /// A checkpoint that is given lacks an entry of the segment in which it ends.
    GiveWithoutEntry,
    /// A checkpoint that is made anew is not synced before it gets its name.
    SkipReplacedCheckpointSync,
    /// A checkpoint gets its name, and is synced then.
    RenameCheckpointBeforeSync,
    /// An index is made before the log says durably that its entries are committed.
    IndexBeforeCommitted,
    ForgetVoteAtInstall,
    SkipSnapshotSync,
    TrustSnapshotFile,
    /// An index does not say which idempotency keys came in.
    ForgetIdempotencyInIndex,
    /// An index does not say which keys were deleted.
    ForgetDeletionInIndex,
    /// An index lacks the last change of each list.
    ForgetLastInIndex,
    /// A checkpoint goes on having what was deleted since the one before.
    ForgetTombstone,
    /// A checkpoint does not say the highest number that a member ever had.
    ForgetHighestMember,
    /// What a checkpoint holds is applied again onto it.
    ApplyTwiceAfterCheckpoint,
    /// One segment more is removed than was purged.
    PurgeOneSegmentTooMany,
    /// A log goes on from what contradicts the checkpoint that it begins from.
    KeepContradictedTail,
    /// A leader whose disk failed, or hangs, goes on leading.
    LeadWithFailedDisk,
    /// An answer counts for a request that was sent after the one that it answers.
    CreditAnswerToLaterRequest,
    /// A leader lets strong reads pass without asking anybody whether it still leads.
    BelieveDeposedLeader,
    /// A write that was tried again after nobody knew its outcome may be told as refused.
    ForgetMayHaveHappened,
    /// A request that was sent on a connection that broke is told as not sent.
    TellLostAsNotSent,
    /// A new leader stamps before it has applied everything from before its term.
    StampBeforeApplied,
    /// A write that comes now and then wakes nobody, and takes the place of the waker.
    LoseWakeUp,
    /// A leader goes on counting a follower that lost what it had acknowledged.
    CountReverted,
    /// Neither a leader nor the follower itself notices that this lost what it had acknowledged.
    IgnoreReversion,
    /// A follower answers writes that it forwarded before it has applied them.
    AnswerBeforeApplied,
    /// A follower takes all that its leader sends for committed.
    ShowUncommitted,
    /// What a quorum holds is applied before it is durable here.
    ShowUndurable,
    /// Changes are stamped with the time of day, wherever that has gone.
    StampGoesBack,
    /// A strong read is answered from what this node holds.
    WeakStrongRead,
    /// Requests that were answered are not remembered.
    ForgetIdempotency,
    /// The collections of a tenant stay when it ends.
    KeepCollections,
    /// A write happens though the key is what it must not be.
    IgnoreIfNoneMatch,
    /// A checkpoint does not say which requests were answered.
    ForgetIdempotencyInCheckpoint,
    /// A strong read is answered as soon as it is known what it must see.
    ReadBeforeApplied,
    /// `min_id` is not waited for.
    IgnoreMinId,
    /// A node that was started serves before it has what it had shown.
    ServeBeforeRecovered,
    /// Retention purges whatever is sealed, however few changes remain.
    PurgeWithoutCount,
    /// A key is written whether the condition holds or not.
    IgnoreCondition,
    /// Of writes that are answered together, each batch is counted as one change.
    CountBatchAsOne,
    /// A write without a key is tried again although it may have happened.
    RepeatWithoutKey,
    /// A candidate gets a vote whatever its log lacks.
    VoteForOlderLog,
    /// A change of a tenant that bears a tag is not found by that.
    ForgetTagOfTenant,
    /// A part of a list says to go on after the newest change, whatever it left out.
    GoOnAfterNewest,
    /// A wait that is over goes on after the change that ended it.
    SkipWhatEndedAWait,
    /// A stream says to go on after what it has not sent yet.
    CursorAhead,
    /// A checkpoint is acknowledged while the entries that it stands for wait to be written.
    AcknowledgeCheckpointBeforeDurable,
    /// A member is taken out while the change before, which was left half-way, is not ended.
    ForgetHalfWay,
    /// A leader that ceased to vote goes on leading.
    LeadWithoutVote,
    /// A change is shown as long as its bytes are there, although it was redacted.
    ForgetRedactions,
    /// The index of a segment goes on naming the tags of what was erased.
    KeepErasedTags,
    /// A segment that is written anew says that the next one continues it as it is now.
    ForgetRewrittenChain,
    /// A segment that is written anew is not synced before it gets its name.
    SkipRewriteSync,
    /// The directory is not synced after a segment that was written anew got its name.
    SkipRewriteDirectorySync,
    /// A segment that was written anew gets its name though it was purged meanwhile.
    RestorePurgedSegment,
    /// The index of a segment says that something is erased before that is so.
    IndexBeforeErased,
    /// Readers go on with the segment, and its index, from before something was erased.
    EraseUntold,
    /// What is redacted stays in the checkpoint, and counts as erased.
    KeepInCheckpoint,
    /// A checkpoint that was made before something was erased is not looked at again.
    ForgetToLookAgain,
    /// What a checkpoint of another node stands for stays in the segment that it ends in.
    KeepPurgedInSegment,
    /// A checkpoint is given to those who copy it with what is redacted and not erased yet.
    CopyRedactedCheckpoint,
    /// A snapshot has a segment from before something was erased, and its index from after that.
    SendBeforeErased,
    /// Copies of the log are made with what is redacted and not erased yet.
    CopyRedacted,
    /// What is redacted stays in the files.
    NeverErase,
    /// An index does not say which changes were redacted.
    ForgetRedactionInIndex,
    /// The lists of a tenant keep one change less than they are to.
    RetainTooFew,
    /// Nothing leaves the lists of a tenant, whatever it is to keep.
    RetainAll,
    /// An index does not say where the lists of tenants begin.
    ForgetBeginningInIndex,
    /// A key expires whatever its current version is.
    ExpireWithoutCondition,
    /// An index does not say which versions of keys expire.
    ForgetTtlInIndex,
    /// A checkpoint does not say where the lists of tenants begin.
    ForgetBeginning,
    /// An index does not say which tokens were revoked.
    ForgetRevocationInIndex,
    /// A checkpoint has no tokens.
    ForgetTokensInCheckpoint,
    /// What a checkpoint says of when keys expire is not taken up.
    ForgetTtlInCheckpoint,
    /// A segment in which entries rotted gets its name before it is synced.
    SkipMendSync,
    /// An index is made anew, and readers go on with the damaged one.
    HealUntold,
    /// What is read from the disk is served without a look at its checksum.
    ServeUnverified,
    /// A copy goes on with an origin that has another history by now.
    CopyOtherHistory,
    /// A copy that is started takes what it has for as new as can be.
    ForgetAgeOfCopy,
    /// A copy takes what its origin has for as new as can be, whatever that says of it.
    IgnoreAgeOfOrigin,
    /// A strong read of a copy sees what one node of its origin has.
    CopyReadsWeakly,
    /// What was handed on to an origin and may have happened is handed on to the next.
    HandOnAgain,
    /// The changes of the part of a batch are numbered as if there were no others in it.
    NumberPartAnew,
    /// A copy of some tenants shows the list of all changes itself.
    ShowPartAsWhole,
    /// What an origin gives of what a copy does not hold is passed on however far it lies behind.
    BelieveOlderOrigin,
    /// A node that begins anew from a snapshot is asked for entries that this stands for.
    GiveOfSnapshot,
    /// The part of a checkpoint has no keys.
    ForgetKeysInPart,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Whether a bug is planted on this thread.
#[cfg(test)]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Runs `work` with a bug.
#[cfg(test)]
pub fn with<T>(bug: Option<Bug>, work: impl FnOnce() -> T) -> T {
    struct Before(Option<Bug>);
    impl Drop for Before {
        fn drop(&mut self) {
            PLANTED.set(self.0);
        }
    }
    let _before = Before(PLANTED.replace(bug));
    work()
}

/// How many of `SEEDS` runs find a bug is only said when that is asked for; else the first
/// is enough.
#[cfg(test)]
const SEEDS: &str = "SEEDS";

/// The first of `seeds` whose run finds the bug: it panics with one of `words`, and does not
/// panic without the bug.
///
/// # Panics
/// When there is none.
#[cfg(test)]
pub fn prove(bug: Bug, seeds: std::ops::Range<u64>, words: &[&str], run: impl Fn(u64)) -> u64 {
    if let Ok(count) = std::env::var(SEEDS) {
        let end = seeds.start + count.parse::<u64>().expect("a number of seeds");
        let found: Vec<_> =
            (seeds.start..end).filter(|&seed| is_found_by(bug, seed, words, &run)).collect();
        println!("{bug:?} is found by {} of {count} seeds: {found:?}", found.len());
    }
    let found = seeds.clone().find(|&seed| is_found_by(bug, seed, words, &run));
    let seed = found.unwrap_or_else(|| panic!("{bug:?} is not found by {seeds:?}"));
    println!("{bug:?} is found by seed {seed}, number {}", seed - seeds.start + 1);
    seed
}

/// Whether the run of a seed finds the bug.
#[cfg(test)]
fn is_found_by(bug: Bug, seed: u64, words: &[&str], run: impl Fn(u64)) -> bool {
    let Some(text) = said_by(Some(bug), seed, &run) else { return false };
    let start = |text: &str| text.chars().take(250).collect::<String>();
    if !words.iter().any(|word| text.contains(word)) {
        println!("{bug:?}, seed {seed}: found by something else: {}", start(&text));
        return false;
    }
    if let Some(without) = said_by(None, seed, &run) {
        println!("{bug:?}, seed {seed}: fails without the bug, too: {}", start(&without));
        return false;
    }
    println!("{bug:?}, seed {seed}: {}", start(&text));
    true
}

/// What the run of a seed panics with, if it does.
#[cfg(test)]
fn said_by(bug: Option<Bug>, seed: u64, run: impl Fn(u64)) -> Option<String> {
    let run = std::panic::AssertUnwindSafe(|| with(bug, || run(seed)));
    let panic = std::panic::catch_unwind(run).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    Some(text.unwrap_or_default())
}

/// Whether the bug of that name is planted: never outside of tests.
macro_rules! planted {
    ($bug:ident) => {{
        #[cfg(test)]
        let planted = $crate::base::planted::is_planted($crate::base::planted::Bug::$bug);
        #[cfg(not(test))]
        let planted = false;
        planted
    }};
}
pub(crate) use planted;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_there_for_as_long_as_it_is_planted() {
        let both = || (planted!(SkipCheckpointSync), planted!(ForgetTombstone));
        assert_eq!(both(), (false, false));
        assert_eq!(with(Some(Bug::ForgetTombstone), both), (false, true));
        let panicked = std::panic::catch_unwind(|| with(Some(Bug::ForgetTombstone), || panic!()));
        assert!(panicked.is_err());
        assert_eq!(both(), (false, false));
    }

    #[test]
    fn a_run_that_fails_by_itself_finds_nothing() {
        let bug = Bug::ForgetTombstone;
        let run = |seed| match (seed, planted!(ForgetTombstone)) {
            (0, _) => panic!("the tombstone of seed 0"),
            (1, true) => panic!("something else"),
            (2, true) => panic!("the tombstone of seed 2"),
            _ => {}
        };
        assert_eq!(prove(bug, 0..4, &["tombstone"], run), 2);
        assert_eq!(prove(bug, 0..4, &["else", "tombstone"], run), 1);
        let is_found = |seeds| std::panic::catch_unwind(|| prove(bug, seeds, &["tombstone"], run));
        assert!(is_found(0..2).is_err());
        assert!(is_found(3..9).is_err());
    }
}
