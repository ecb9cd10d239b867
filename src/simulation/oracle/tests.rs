//! Each rule catches what breaks it, and lets be what does not.

use super::{Settings, check};
use crate::simulation::history::{
    Asked, Call, Condition, Consistency, Filter, Moment, Place, Seen, Told,
};

/// A history that is put together by hand.
#[derive(Default)]
struct Story {
    calls: Vec<Call>,
    now: Moment,
}

const PLAIN: Place = Place { tenant: None, tag: None };

fn text(id: u64, label: u64) -> String {
    format!(r#"{{"_id":{id},"_ts":{},"data":{{"w":{label}}}}}"#, 1_000 + id)
}

fn seen(id: u64, label: u64) -> Seen {
    Seen { id, text: text(id, label) }
}

fn key(id: u64, label: u64, key: u64) -> Seen {
    let text =
        format!(r#"{{"_id":{id},"_ts":{},"key":"k{key}","data":{{"w":{label}}}}}"#, 1_000 + id);
    Seen { id, text }
}

fn append(labels: &[u64]) -> Asked {
    Asked::Append { labels: labels.to_vec(), place: PLAIN, idempotency: None }
}

fn keyed(label: u64) -> Asked {
    Asked::Append { labels: vec![label], place: PLAIN, idempotency: Some(format!("key {label}")) }
}

fn put(label: u64, condition: Condition) -> Asked {
    Asked::Put { label, key: 1, condition }
}

fn list(since: u64, consistency: Consistency) -> Asked {
    Asked::List { filter: Filter::All, since, consistency }
}

fn read_key() -> Asked {
    Asked::Key { key: 1, consistency: Consistency::Strong }
}

fn done(first: u64) -> Told {
    Told::Done { first, created: true }
}

fn page(changes: &[Seen], last: u64) -> Told {
    Told::Page { changes: changes.to_vec(), last, at_end: true }
}

impl Story {
    /// Adds what returned before the next is called.
    fn then(mut self, asked: Asked, told: Told, last: u64) -> Self {
        let (called, returned) = (self.now + 1, self.now + 2);
        self.now = returned;
        self.add(called, returned, asked, told, last);
        self
    }

    /// Adds what was under way all the time.
    fn beside(mut self, asked: Asked, told: Told) -> Self {
        self.add(0, Moment::MAX - 1, asked, told, 0);
        self.calls.last_mut().unwrap().last = None;
        self
    }

    fn add(&mut self, called: Moment, returned: Moment, asked: Asked, told: Told, last: u64) {
        let last = Some(last);
        self.calls.push(Call { client: 1, node: 1, life: 0, called, returned, asked, told, last });
    }

    /// Somebody has read all of it in the end.
    fn all(self, changes: &[Seen]) -> Self {
        let last = changes.last().map_or(0, |change| change.id);
        self.then(list(0, Consistency::Local), page(changes, last), last)
    }

    fn holds(self) {
        check(&self.calls, Settings::default()).unwrap();
    }

    fn breaks(self, rule: &str) {
        let broken = check(&self.calls, Settings::default()).unwrap_err();
        assert_eq!(broken.rule, rule, "{broken}");
    }

    fn breaks_with_retention(self, rule: &str) {
        let settings = Settings { retained_min: Some(2) };
        assert_eq!(check(&self.calls, settings).unwrap_err().rule, rule);
    }

    fn holds_with_retention(self) {
        check(&self.calls, Settings { retained_min: Some(2) }).unwrap();
    }
}

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
    let story = Story::default().then(keyed(10), done(1), 1);
    story.all(&[seen(1, 10), seen(2, 10)]).breaks("no duplicate");
    let story = Story::default().then(keyed(10), done(1), 1).then(keyed(10), done(2), 2);
    story.all(&[seen(1, 10), seen(2, 11)]).breaks("no acknowledged loss");
    // The first answer is given again.
    let story = Story::default().then(keyed(10), done(1), 1).then(append(&[11]), done(2), 2);
    story.then(keyed(10), done(1), 2).all(&[seen(1, 10), seen(2, 11)]).holds();
    // One try failed, another did it.
    let story = Story::default().then(keyed(10), Told::Failed, 0).then(keyed(10), done(1), 1);
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
    let of = Asked::List { filter: Filter::Tag(3), since: 0, consistency: Consistency::Local };
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
    story().then(is_absent, refused(None), 1).all(&[key(1, 10, 1)]).breaks("linearizable");
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
    let deletes = Asked::Delete { key: 1, condition: Condition::None };
    let story = || Story::default().then(put(10, Condition::None), done(1), 1);
    let gone = Seen { id: 2, text: r#"{"_id":2,"_ts":1002,"key":"k1","deleted":true}"#.into() };
    let story = || story().then(deletes.clone(), done(2), 2);
    story().all(&[key(1, 10, 1), gone]).holds();
    story()
        .then(append(&[11]), Told::Unknown, 2)
        .all(&[key(1, 10, 1), seen(2, 11)])
        .breaks("no acknowledged loss");
}

#[test]
fn an_answer_that_no_client_must_get_is_found() {
    Story::default().then(append(&[10]), Told::Odd("500".into()), 0).breaks("answers");
}
