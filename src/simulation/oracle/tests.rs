//! Each rule catches what breaks it, and lets be what does not.

use uuid::Uuid;

use super::check_numbers;
use super::story::{
    KEY, OF_TENANT, PLAIN, Story, append, change, done, gone, key, list, page, put, read_key, seen,
};
use crate::simulation::history::{Asked, Condition, Consistency, Filter, Numbered, Seen, Told};

#[test]
fn a_plain_history_is_fine() {
    Story::default()
        .then(append(&[10]), done(1), 1)
        .then(append(&[11, 12]), done(2), 3)
        .then(append(&[13]), Told::Unknown, 3)
        .then(append(&[14]), Told::Failed, 3)
        .then(list(1, Consistency::Strong), page(&[seen(2, 11), seen(3, 12)], 3), 3)
        .all(&[seen(1, 10), seen(2, 11), seen(3, 12), seen(4, 13)])
        .holds();
}

#[test]
fn an_acknowledged_change_that_is_not_there_is_a_loss() {
    let story = || Story::default().then(append(&[10]), done(1), 1);
    story().all(&[seen(1, 11)]).breaks("no acknowledged loss");
    story().all(&[]).breaks("no acknowledged loss");
    // It is there, but elsewhere than was said.
    story()
        .then(append(&[11]), Told::Unknown, 1)
        .all(&[seen(1, 11), seen(2, 10)])
        .breaks("no acknowledged loss");
}

#[test]
fn what_certainly_did_not_happen_is_not_there() {
    Story::default().then(append(&[10]), Told::Failed, 0).all(&[seen(1, 10)]).breaks("no phantom");
}

#[test]
fn what_nobody_wrote_is_not_there() {
    Story::default().all(&[seen(1, 10)]).breaks("no phantom");
    // It was written to no key.
    let story = Story::default().then(append(&[10]), Told::Unknown, 0);
    story.all(&[key(1, 10, 1)]).breaks("no phantom");
}

#[test]
fn nothing_is_there_twice() {
    let story = Story::default().then(append(&[10]), done(1), 1).keyed("one");
    story.all(&[seen(1, 10), seen(2, 10)]).breaks("no duplicate");
    let story = Story::default()
        .then(append(&[10]), done(1), 1)
        .keyed("one")
        .then(append(&[10]), done(2), 2)
        .keyed("one");
    story.all(&[seen(1, 10), seen(2, 11)]).breaks("no acknowledged loss");
    // The first answer is given again.
    let story = Story::default().then(append(&[10]), done(1), 1).keyed("one").then(
        append(&[11]),
        done(2),
        2,
    );
    story.then(append(&[10]), done(1), 2).keyed("one").all(&[seen(1, 10), seen(2, 11)]).holds();
    // One try failed, another did it.
    let story = Story::default()
        .then(append(&[10]), Told::Failed, 0)
        .keyed("one")
        .then(append(&[10]), done(1), 1)
        .keyed("one");
    story.all(&[seen(1, 10)]).holds();
}

#[test]
fn all_see_one_list() {
    let story =
        Story::default().then(append(&[10]), done(1), 1).then(append(&[11]), Told::Unknown, 1);
    story.all(&[seen(1, 10)]).all(&[seen(1, 11)]).breaks("one order");
}

#[test]
fn ids_are_dense_and_stamps_do_not_decrease() {
    let story =
        || Story::default().then(append(&[10]), done(1), 1).then(append(&[11]), Told::Unknown, 1);
    story().all(&[seen(1, 10), seen(3, 11)]).breaks("dense ids");
    let early = Seen { id: 2, text: r#"{"_id":2,"_ts":5,"data":{"w":11}}"#.into() };
    story().all(&[seen(1, 10), early]).breaks("stamps");
}

#[test]
fn a_reader_misses_nothing_and_sees_nothing_twice() {
    let story = || {
        let story = Story::default().then(append(&[10]), done(1), 1);
        story.then(append(&[11]), done(2), 2).all(&[seen(1, 10), seen(2, 11)])
    };
    story().then(list(0, Consistency::Local), page(&[seen(2, 11)], 2), 2).breaks("no gap");
    story().then(list(0, Consistency::Local), page(&[], 1), 2).breaks("no gap");
    let twice = page(&[seen(1, 10), seen(1, 10)], 2);
    story().then(list(0, Consistency::Local), twice, 2).breaks("no repeat");
    story().then(list(1, Consistency::Local), page(&[seen(1, 10)], 2), 2).breaks("no repeat");
    let filter = Filter { tag: Some(3), ..Filter::default() };
    let of = Asked::List { filter, since: 0, consistency: Consistency::Local };
    story().then(of, page(&[seen(1, 10)], 2), 2).breaks("lists");
}

#[test]
fn only_what_is_gone_is_told_to_be() {
    let story = || {
        let story = Story::default().then(append(&[10]), done(1), 1);
        let story = story.then(append(&[11, 12, 13]), done(2), 4);
        story.all(&[seen(1, 10), seen(2, 11), seen(3, 12), seen(4, 13)])
    };
    let gone = Told::Purged { first: 3 };
    story().then(list(1, Consistency::Local), gone.clone(), 4).holds_with_retention();
    // It starts where history does.
    story()
        .then(list(2, Consistency::Local), gone.clone(), 4)
        .breaks_with_retention("no false 410");
    // So much may not be gone yet.
    let more = Told::Purged { first: 4 };
    story().then(list(1, Consistency::Local), more, 4).breaks_with_retention("no false 410");
    story().then(list(1, Consistency::Local), gone, 4).breaks("no false 410");
    // Who starts at the beginning starts with what is held, and misses nothing after it.
    let held = page(&[seen(3, 12), seen(4, 13)], 4);
    story().then(list(0, Consistency::Local), held.clone(), 4).holds_with_retention();
    story().then(list(1, Consistency::Local), held, 4).breaks_with_retention("no gap");
}

#[test]
fn a_node_never_shows_less_than_before() {
    let story = Story::default().then(append(&[10]), done(1), 1);
    story
        .then(list(0, Consistency::Local), page(&[], 0), 0)
        .all(&[seen(1, 10)])
        .breaks("a node never goes back");
    // What was decided may be said before it is shown.
    let story = Story::default().then(append(&[10]), done(1), 1).then(append(&[11]), done(2), 1);
    story.all(&[seen(1, 10), seen(2, 11)]).holds();
    // Whoever is told so is to find it there.
    let story = Story::default().then(append(&[10, 11]), done(1), 1);
    let story = story.then(list(0, Consistency::Local), page(&[seen(1, 10)], 1), 1);
    story.all(&[seen(1, 10), seen(2, 11)]).breaks("a node never goes back");
}

#[test]
fn a_number_is_not_given_twice() {
    let told = |node, begun, cluster, number| {
        let cluster = Uuid::from_u128(cluster);
        Numbered { node, begun, cluster, number }
    };
    let rule = |numbered: &[Numbered]| check_numbers(numbered).err().map(|broken| broken.rule);
    // It was alone before it was taken in, and came anew.
    let fine = [told(3, 0, 9, 1), told(1, 0, 5, 1), told(3, 0, 5, 3), told(3, 1, 5, 4)];
    assert_eq!(rule(&fine), None);
    assert_eq!(rule(&[told(3, 0, 5, 3), told(3, 0, 5, 3)]), None);
    assert_eq!(rule(&[told(3, 0, 5, 3), told(3, 1, 5, 3)]), Some("numbers"));
    assert_eq!(rule(&[told(3, 0, 5, 3), told(2, 0, 5, 3)]), Some("numbers"));
}

#[test]
fn min_id_is_kept_to() {
    let story = Story::default().then(append(&[10]), done(1), 1).all(&[seen(1, 10)]);
    let at_least = list(1, Consistency::AtLeast(2));
    story.then(at_least, page(&[], 1), 1).breaks("min_id");
}

#[test]
fn a_strong_read_sees_what_was_acknowledged_before() {
    let story = || Story::default().then(append(&[10]), done(1), 1).then(append(&[11]), done(2), 2);
    let stale = page(&[seen(1, 10)], 1);
    // On another node, so that only its strength forbids it.
    let elsewhere = |mut story: Story| {
        story.calls.last_mut().unwrap().node = 2;
        story.all(&[seen(1, 10), seen(2, 11)])
    };
    let strong = story().then(list(0, Consistency::Strong), stale.clone(), 1);
    elsewhere(strong).breaks("linearizable");
    let nothing = story().then(list(1, Consistency::Strong), page(&[], 1), 1);
    elsewhere(nothing).breaks("linearizable");
    let local = story().then(list(0, Consistency::Local), stale.clone(), 1);
    elsewhere(local).holds();
    // It was called before the second was acknowledged.
    let beside = Story::default()
        .then(append(&[10]), done(1), 1)
        .beside(list(0, Consistency::Strong), stale);
    beside.then(append(&[11]), done(2), 2).all(&[seen(1, 10), seen(2, 11)]).holds();
}

#[test]
fn no_read_sees_what_a_later_one_does_not() {
    let story = Story::default().beside(append(&[10]), Told::Unknown);
    let story = story.then(list(0, Consistency::Strong), page(&[seen(1, 10)], 1), 1);
    let mut story = story.then(list(0, Consistency::Strong), page(&[], 0), 0);
    story.calls.last_mut().unwrap().node = 2;
    story.all(&[seen(1, 10)]).breaks("linearizable");
}

#[test]
fn a_write_comes_after_what_had_returned() {
    let story = Story::default().then(append(&[10]), done(2), 2).then(append(&[11]), done(1), 2);
    story.all(&[seen(1, 11), seen(2, 10)]).breaks("linearizable");
}

#[test]
fn conditions_hold_where_writes_take_effect() {
    let story = || Story::default().then(put(10, Condition::IsAbsent), done(1), 1);
    let replaced = || Told::Done { first: 2, created: false };
    let both = [key(1, 10, 1), key(2, 11, 1)];
    story().then(put(11, Condition::Is(1)), replaced(), 2).all(&both).holds();
    story().then(put(11, Condition::IsAbsent), replaced(), 2).all(&both).breaks("conditions");
    story().then(put(11, Condition::Is(7)), replaced(), 2).all(&both).breaks("conditions");
    // It says that it was the first.
    story().then(put(11, Condition::None), done(2), 2).all(&both).breaks("conditions");
}

#[test]
fn a_refused_condition_did_not_hold_at_that_time() {
    let story = || Story::default().then(put(10, Condition::None), done(1), 1);
    let refused = |current| Told::Refused { current };
    let is_absent = put(11, Condition::IsAbsent);
    story().then(is_absent.clone(), refused(Some(1)), 1).all(&[key(1, 10, 1)]).holds();
    let exists = put(11, Condition::Exists);
    story().then(exists, refused(None), 1).all(&[key(1, 10, 1)]).breaks("linearizable");
}

#[test]
fn a_key_is_read_as_it_is_at_that_time() {
    let story = || {
        let story = Story::default().then(put(10, Condition::None), done(1), 1);
        story.then(put(11, Condition::None), Told::Done { first: 2, created: false }, 2)
    };
    let both = [key(1, 10, 1), key(2, 11, 1)];
    story().then(read_key(), Told::Key(Some(key(2, 11, 1))), 2).all(&both).holds();
    story().then(read_key(), Told::Key(Some(key(1, 10, 1))), 2).all(&both).breaks("linearizable");
    story().then(read_key(), Told::Key(None), 2).all(&both).breaks("linearizable");
}

#[test]
fn a_deletion_is_recorded_as_one() {
    let deletes = Asked::Delete { key: KEY.key().unwrap(), condition: Condition::None };
    let story = || Story::default().then(put(10, Condition::None), done(1), 1);
    let story = || story().then(deletes.clone(), done(2), 2);
    story().all(&[key(1, 10, 1), gone(2, KEY)]).holds();
    story()
        .then(append(&[11]), Told::Unknown, 2)
        .all(&[key(1, 10, 1), seen(2, 11)])
        .breaks("no acknowledged loss");
}

#[test]
fn an_answer_that_no_client_must_get_is_found() {
    Story::default().then(append(&[10]), Told::Odd("500".into()), 0).breaks("answers");
}

fn redacted(id: u64) -> Seen {
    change(id, PLAIN, r#""redacted":true"#)
}

#[test]
fn what_is_redacted_stays_so_where_it_was_told_and_in_strong_reads() {
    let redact = || {
        let story = Story::default().then(append(&[7]), done(1), 1).all(&[seen(1, 7)]);
        story.then(Asked::Redact(1), Told::Redacted, 1)
    };
    let local = |seen: Seen| (list(0, Consistency::Local), page(&[seen], 1));
    let strong = |seen: Seen| (list(0, Consistency::Strong), page(&[seen], 1));
    let (asked, told) = local(redacted(1));
    redact().then(asked, told, 1).holds();
    let (asked, told) = local(seen(1, 7));
    redact().then(asked, told, 1).breaks("redactions");
    // Another node may not have applied it yet.
    let (asked, told) = local(seen(1, 7));
    redact().then(asked, told, 1).elsewhere().holds();
    let (asked, told) = strong(seen(1, 7));
    redact().then(asked, told, 1).elsewhere().breaks("redactions");
    // Once it has shown that, it has.
    let again = || {
        let (asked, told) = local(redacted(1));
        redact().then(asked, told, 1).elsewhere()
    };
    let (asked, told) = local(seen(1, 7));
    again().then(asked, told, 1).elsewhere().breaks("redactions");
    let (asked, told) = local(redacted(1));
    again().then(asked, told, 1).elsewhere().holds();
}

#[test]
fn nothing_is_redacted_that_nobody_wanted_gone_and_nothing_else_of_it_changes() {
    let story = || Story::default().then(append(&[7]), done(1), 1).all(&[seen(1, 7)]);
    story().all(&[redacted(1)]).breaks("redactions");
    let told = || story().then(Asked::Redact(1), Told::Unknown, 1);
    told().all(&[redacted(1)]).holds();
    told().all(&[change(1, OF_TENANT, r#""redacted":true"#)]).breaks("one order");
    // Nobody saw it before.
    let unseen = Story::default().then(append(&[7]), done(1), 1);
    unseen.then(Asked::Redact(1), Told::Redacted, 1).all(&[redacted(1)]).holds();
}

#[test]
fn a_change_of_a_key_says_which_version_it_replaced() {
    let told = |first: &str, second: &str| {
        let made = |id: u64, prev: &str| {
            let text =
                key(id, 9 + id, 1).text.replace(",\"tenant\"", &format!("{prev},\"tenant\""));
            Seen { id, text }
        };
        Story::default()
            .then(put(10, Condition::None), done(1), 1)
            .then(put(11, Condition::None), Told::Done { first: 2, created: false }, 2)
            .all(&[made(1, first), made(2, second)])
            .tells_previous()
    };
    assert!(told("", ",\"prev\":1"));
    assert!(!told("", "") && !told("", ",\"prev\":2") && !told(",\"prev\":1", ",\"prev\":1"));
}
