//! The proof of the prover: with each bug that can be planted, whole nodes break a rule soon,
//! and without it they do not. Others are found below, where what shows them comes together:
//! `log/planted_tests.rs`, `checkpoint/crash_tests.rs`, `raft/retention_tests.rs`, `raft/acknowledged.rs`,
//! `raft/simulation/scenario_tests.rs` and `raft/peer/network_tests`.
//!
//! `SEEDS=20 cargo test --lib simulation::planted::stamps -- --nocapture` says how many of
//! twenty seeds find those bugs.

mod of_copies;
mod of_tenants;
pub(super) mod plans;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;

use super::{
    plan::Plan,
    record::take_trace,
    tests::given,
    world::{attempt_planned, run_planned},
};
use crate::base::planted::{Bug, prove, with};

/// What a run says when nodes do not serve although all is well with them.
const LIVENESS: &str = "not all of them serve";
/// What a run says when others go on without what was acknowledged.
const LOST: [&str; 3] = ["no acknowledged loss", "one order", "a node never goes back"];

/// The bug is found within so many seeds, by one of these rules. `SHOW` is a seed whose trace
/// with the bug is printed, or without it when `PLAIN` is set.
fn find(bug: Bug, within: u64, rules: &[&str], draw: impl Fn(&mut StdRng) -> Plan) {
    if let Some(seed) = given("SHOW") {
        let bug = std::env::var_os("PLAIN").is_none().then_some(bug);
        let run = AssertUnwindSafe(|| with(bug, || attempt_planned(seed, &draw).trace));
        return println!("{}", catch_unwind(run).unwrap_or_else(|_| take_trace()));
    }
    let run = |seed| drop(attempt_planned(seed, &draw));
    prove(bug, 0..within, rules, run);
}

/// `name: Bug, within so many seeds, by these rules, in runs of that plan`.
macro_rules! found {
    ($($name:ident: $bug:ident, $within:literal, $rules:expr, $plan:ident;)*) => {
        $(
            #[test]
            fn $name() {
                find(Bug::$bug, $within, &$rules, plans::$plan);
            }
        )*
    };
}

found! {
    // What is read.
    weak_strong_read: WeakStrongRead, 6, ["linearizable"], lagging;
    read_before_applied: ReadBeforeApplied, 24, ["linearizable"], lagging;
    believe_deposed_leader: BelieveDeposedLeader, 6, ["linearizable"], isolated_leader;
    answer_before_applied: AnswerBeforeApplied, 6, ["a node never goes back"], lagging;
    ignore_min_id: IgnoreMinId, 10, ["min_id"], lagging;
    show_uncommitted: ShowUncommitted, 6, ["one order"], isolated_with_learner;
    show_undurable: ShowUndurable, 6, ["a node never goes back", "segments arrive in order"], hanging_follower;
    serve_before_recovered: ServeBeforeRecovered, 6, ["a node never goes back"], started_apart;
    forget_tag_of_tenant: ForgetTagOfTenant, 6, ["no gap"], quiet;
    forget_redactions: ForgetRedactions, 3, ["redactions"], redacting_alone;
    go_on_after_newest: GoOnAfterNewest, 3, ["no gap"], quiet;
    skip_what_ended_a_wait: SkipWhatEndedAWait, 3, ["no gap"], quiet;
    cursor_ahead: CursorAhead, 4, ["no gap", "no repeat"], broken_streams;
    serve_unverified: ServeUnverified, 20, ["one order", "FromUtf8Error"], rotting;
    retain_too_few: RetainTooFew, 4, ["no gap", "no false 410"], retaining_tenants;
    retain_all: RetainAll, 3, ["the list of a tenant has more"], retaining_tenants;
    forget_beginning_in_index: ForgetBeginningInIndex, 6, ["beginnings"], restarted_with_retention;
    purge_without_count: PurgeWithoutCount, 3, ["no false 410", "no gap"], retaining;

    // What is written, and what is told of it.
    stamp_goes_back: StampGoesBack, 3, ["a batch stamped"], time_goes_back;
    stamp_before_applied: StampBeforeApplied, 8, ["a batch stamped"], clock_ahead;
    forget_idempotency: ForgetIdempotency, 4, ["no duplicate"], repeated;
    forget_idempotency_in_checkpoint: ForgetIdempotencyInCheckpoint, 6, ["no duplicate"], purging;
    repeat_without_key: RepeatWithoutKey, 8, ["no duplicate"], broken_ways;
    forget_may_have_happened: ForgetMayHaveHappened, 8, ["no phantom"], dead_leader;
    count_batch_as_one: CountBatchAsOne, 20, ["no acknowledged loss"], batches;
    ignore_condition: IgnoreCondition, 4, ["conditions"], quiet;
    ignore_if_none_match: IgnoreIfNoneMatch, 6, ["conditions"], quiet;
    expire_without_condition: ExpireWithoutCondition, 6, ["expiry"], expiring;
    keep_collections: KeepCollections, 8, ["nothing lives on", "a node never goes back"], coming_and_going;
    lose_wake_up: LoseWakeUp, 4, [LIVENESS], quiet;

    // What is there after a crash, and who decides.
    acknowledge_before_durable: AcknowledgeBeforeDurable, 6, LOST, one_acknowledges;
    vote_for_older_log: VoteForOlderLog, 8, [LIVENESS], lagging_candidate;
    forget_tombstone: ForgetTombstone, 6, ["linearizable", "conditions", "one order"], purging;
    apply_twice_after_checkpoint: ApplyTwiceAfterCheckpoint, 12, [LIVENESS, "no duplicate"], purging;
    forget_idempotency_in_index: ForgetIdempotencyInIndex, 6, ["no duplicate"], restarted;
    forget_deletion_in_index: ForgetDeletionInIndex, 8, ["linearizable", "conditions", "one order"], restarted;
    forget_redaction_in_index: ForgetRedactionInIndex, 12, ["redactions", "it is in the files"], redacting_alone;
    copy_redacted: CopyRedacted, 6, ["gives copies of what was redacted"], copied_while_redacting;
    never_erase: NeverErase, 3, ["it is in the files"], redacting;
    forget_last_in_index: ForgetLastInIndex, 6, ["no gap"], restarted;
    lead_with_failed_disk: LeadWithFailedDisk, 3, [LIVENESS], hanging_leader;
    forget_highest_member: ForgetHighestMember, 8, ["numbers"], comes_anew;
    acknowledge_checkpoint_before_durable: AcknowledgeCheckpointBeforeDurable, 6, [LIVENESS], waiting_entries;
    forget_half_way: ForgetHalfWay, 12, [LIVENESS], two_changes;
    lead_without_vote: LeadWithoutVote, 6, ["the nodes are not one cluster"], demoted_heir;
    ignore_reversion: IgnoreReversion, 8, LOST, older_copy;
}

#[test]
fn a_follower_on_an_older_copy_does_not_keep_its_leader_busy() {
    drop(run_planned(0, plans::older_copy));
}
