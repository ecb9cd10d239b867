use super::*;

const BASE: u64 = 40;
const SIZE: usize = 80;

/// One change of a fake list.
#[derive(Debug, Clone)]
struct Row {
    id: u64,
    ts: u64,
    data: String,
}

/// A list and a ledger that agree: worker 1 got ids 41 to 43 one by one and a batch of three from
/// 45; 44 is another writer's; worker 2 never learnt of its change at 48, nor of one that is not
/// there.
struct Case {
    payload: Payload,
    rows: Vec<Row>,
    acknowledged: Vec<Acknowledged>,
    unknown: Vec<Sent>,
}

fn origin(worker: u16, sequence: u32) -> Origin {
    Origin { worker, sequence }
}

fn sent(worker: u16, sequence: u32, count: u16) -> Sent {
    Sent { first: origin(worker, sequence), count }
}

impl Case {
    fn new() -> Self {
        let payload = Payload::new(77, SIZE).expect("a valid size");
        let mut case = Self {
            payload,
            rows: Vec::new(),
            acknowledged: vec![
                Acknowledged::new(45, sent(1, 3, 3)),
                Acknowledged::new(43, sent(1, 2, 1)),
                Acknowledged::new(41, sent(1, 0, 1)),
                Acknowledged::new(42, sent(1, 1, 1)),
            ],
            unknown: vec![sent(2, 0, 1), sent(2, 1, 1)],
        };
        for (id, sequence) in [(41, 0), (42, 1), (43, 2), (45, 3), (46, 4), (47, 5)] {
            let row = case.row(id, origin(1, sequence));
            case.rows.push(row);
        }
        case.rows.insert(3, Row { id: 44, ts: 1_044, data: r#"{"other":[1]}"#.to_owned() });
        let unknown = case.row(48, origin(2, 0));
        case.rows.push(unknown);
        case
    }

    fn row(&self, id: u64, origin: Origin) -> Row {
        let mut data = Vec::new();
        self.payload.matches(b"", origin, &mut data);
        Row { id, ts: 1_000 + id, data: String::from_utf8(data).expect("text") }
    }

    /// Feeds the list in pages of two.
    fn verify(self) -> Verification {
        let ledger = Ledger {
            acknowledged: self.acknowledged,
            unknown: self.unknown,
            sent: vec![(1, 6), (2, 2)],
        };
        let mut verifier = Verifier::new(&self.payload, ledger, BASE);
        for page in self.rows.chunks(2) {
            let changes: Vec<String> = page
                .iter()
                .map(|Row { id, ts, data }| {
                    format!(r#"{{"_id":{id},"_ts":{ts},"tags":["x"],"data":{data}}}"#)
                })
                .collect();
            let last = page.last().map_or(0, |row| row.id);
            let body = format!(
                r#"{{"changes":[{}],"atStart":false,"atEnd":false,"last":{last}}}"#,
                changes.join(",")
            );
            let position = verifier.page(body.as_bytes()).expect("a page");
            assert_eq!(position, Position { last, at_end: false });
        }
        verifier.finish()
    }

    fn violations(self) -> Vec<(Violation, u64)> {
        let result = self.verify();
        assert_eq!(result.passed, result.violations.is_empty());
        assert_eq!(result.examples.len() as u64, result.violations.values().sum::<u64>());
        result.violations.into_iter().collect()
    }
}

#[test]
fn a_list_that_agrees_passes() {
    let result = Case::new().verify();
    assert!(result.passed, "{result:?}");
    assert_eq!((result.changes_read, result.acknowledged, result.found), (8, 6, 6));
    assert_eq!((result.unknown, result.unknown_found, result.foreign), (2, 1, 1));
}

#[test]
fn a_change_that_is_missing_at_the_end_is_lost() {
    let mut case = Case::new();
    case.rows.truncate(6);
    assert_eq!(case.violations(), [(Violation::Lost, 1)]);
}

#[test]
fn a_change_that_is_missing_within_is_lost_and_leaves_a_gap() {
    let mut case = Case::new();
    case.rows.remove(5);
    assert_eq!(case.violations(), [(Violation::Lost, 1), (Violation::IdGap, 1)]);
}

#[test]
fn an_empty_list_has_lost_everything() {
    let mut case = Case::new();
    case.rows.clear();
    assert_eq!(case.violations(), [(Violation::Lost, 6)]);
}

#[test]
fn an_acknowledged_change_that_is_there_again_is_duplicated() {
    let mut case = Case::new();
    let again = case.row(49, origin(1, 2));
    case.rows.push(again);
    assert_eq!(case.violations(), [(Violation::Duplicated, 1)]);
}

#[test]
fn an_unknown_change_that_is_there_twice_is_duplicated() {
    let mut case = Case::new();
    let again = case.row(49, origin(2, 0));
    case.rows.push(again);
    assert_eq!(case.violations(), [(Violation::Duplicated, 1)]);
}

#[test]
fn changes_in_each_others_place_are_misplaced() {
    let mut case = Case::new();
    let first = case.rows[0].data.clone();
    case.rows[0].data = std::mem::replace(&mut case.rows[1].data, first);
    assert_eq!(case.violations(), [(Violation::Misplaced, 2)]);
}

#[test]
fn a_change_that_nobody_sent_is_invented() {
    for never_sent in [origin(1, 6), origin(9, 0)] {
        let mut case = Case::new();
        let invented = case.row(49, never_sent);
        case.rows.push(invented);
        assert_eq!(case.violations(), [(Violation::Invented, 1)]);
    }
}

#[test]
fn other_bytes_than_were_sent_are_noticed() {
    for (row, from, to) in [(0, "\"}", "!\"}"), (4, "pad", "bad"), (7, "\"}", "?\"}")] {
        let mut case = Case::new();
        case.rows[row].data = case.rows[row].data.replacen(from, to, 1);
        assert_eq!(case.violations(), [(Violation::Altered, 1)], "row {row}");
    }
    let mut case = Case::new();
    case.rows[1].data = r#"{"other":2}"#.to_owned();
    assert_eq!(case.violations(), [(Violation::Altered, 1)]);
}

#[test]
fn gaps_and_repetitions_of_ids_are_noticed() {
    let mut case = Case::new();
    case.rows.last_mut().expect("rows").id = 50;
    assert_eq!(case.violations(), [(Violation::IdGap, 1)]);

    let mut case = Case::new();
    case.rows[3].id = 43;
    let violations = case.violations();
    assert!(violations.contains(&(Violation::IdGap, 2)), "{violations:?}");

    let mut case = Case::new();
    for row in &mut case.rows {
        row.id += 1;
    }
    let violations = case.violations();
    assert!(violations.contains(&(Violation::IdGap, 1)), "{violations:?}");
    assert!(violations.iter().any(|(violation, _)| *violation == Violation::Lost));
}

#[test]
fn time_may_stand_still_but_not_go_back() {
    let mut case = Case::new();
    case.rows[2].ts = case.rows[1].ts;
    assert_eq!(case.violations(), []);
    let mut case = Case::new();
    case.rows[2].ts = case.rows[1].ts - 1;
    assert_eq!(case.violations(), [(Violation::TimeWentBack, 1)]);
}

#[test]
fn one_id_for_two_requests_is_noticed() {
    let mut case = Case::new();
    case.acknowledged.push(Acknowledged::new(46, sent(2, 0, 1)));
    case.unknown.remove(0);
    let violations = case.violations();
    assert!(violations.contains(&(Violation::AcknowledgedTwice, 1)), "{violations:?}");

    let mut case = Case::new();
    case.acknowledged.push(Acknowledged::new(BASE, sent(2, 1, 1)));
    let violations = case.violations();
    assert!(violations.contains(&(Violation::AcknowledgedTwice, 1)), "{violations:?}");
}

#[test]
fn an_unknown_change_may_be_missing() {
    let mut case = Case::new();
    case.rows.pop();
    let result = case.verify();
    assert!(result.passed, "{result:?}");
    assert_eq!(result.unknown_found, 0);
}

#[test]
fn what_is_no_page_is_refused() {
    let payload = Payload::new(1, SIZE).expect("a valid size");
    let mut verifier = Verifier::new(&payload, Ledger::default(), 0);
    for body in ["", "{}", r#"{"changes":[{"_id":-1,"_ts":0}],"atEnd":true,"last":1}"#] {
        assert!(verifier.page(body.as_bytes()).is_err(), "{body}");
    }
}
