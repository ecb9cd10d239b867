//! What a copy shows is no older than it says: it is all that one of the members that it comes from
//! had shown by then.

use std::{collections::BTreeMap, time::Duration};

use super::{Violation, violation};
use crate::{base::ids::NodeId, simulation::history::Call};

/// By how many thousandths of a time clocks differ, and by how much besides that.
const DRIFT: u32 = 5;
const SLACK: Duration = Duration::from_millis(50);

/// The members that a copy comes from, over other copies or not.
pub type Roots = BTreeMap<NodeId, Vec<NodeId>>;

/// What a member had shown, and by when.
type Shown = Vec<(Duration, u64)>;

/// Each moment of `history` has its time in `times`. Says how many answers told of their age.
pub(super) fn check(history: &[Call], times: &[Duration], roots: &Roots) -> Result<u64, Violation> {
    let time = |moment: u64| times.get(moment as usize).copied().unwrap_or_default();
    let mut shown: BTreeMap<NodeId, Shown> = BTreeMap::new();
    let mut answers: Vec<&Call> = history.iter().collect();
    answers.sort_by_key(|call| call.returned);
    for call in answers {
        let Some(last) = call.last else { continue };
        let shown = shown.entry(call.node).or_default();
        if shown.last().is_none_or(|(_, known)| *known < last) {
            shown.push((time(call.returned), last));
        }
    }
    let by = |node: &NodeId, time: Duration| {
        let shown = shown.get(node).map(Vec::as_slice).unwrap_or_default();
        let before = shown.partition_point(|(at, _)| *at < time);
        before.checked_sub(1).map_or(0, |place| shown[place].1)
    };
    let mut judged = 0;
    for call in history {
        let (Some(age), Some(last), Some(roots)) = (call.age, call.last, roots.get(&call.node))
        else {
            continue;
        };
        judged += 1;
        let age = Duration::from_secs(age);
        let Some(whole) = time(call.called).checked_sub(age + age * DRIFT / 1_000 + SLACK) else {
            continue;
        };
        let least = roots.iter().map(|root| by(root, whole)).min().unwrap_or(0);
        if last < least {
            let text = format!("{age:?} before it, all that it comes from had {least}: {call:?}");
            return Err(violation("age", text));
        }
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{
        history::Consistency,
        oracle::story::{Story, list, page},
    };

    /// At second 3 member 1 shows `last`; what copy 2 shows at second 10 says to be `age` old.
    fn check_one(last: u64, age: u64) -> Result<u64, Violation> {
        let asked = list(0, Consistency::Local);
        let told = page(&[], 0);
        let story = Story::default().then(asked.clone(), told.clone(), last).then(asked, told, 4);
        let mut calls = story.calls().to_vec();
        (calls[1].node, calls[1].age) = (2, Some(age));
        let times: Vec<Duration> = [0, 2, 3, 10, 11].map(Duration::from_secs).to_vec();
        assert_eq!((calls[0].returned, calls[1].called), (2, 3));
        check(&calls, &times, &Roots::from([(2, vec![1])]))
    }

    #[test]
    fn a_copy_is_no_older_than_it_says() {
        assert_eq!(check_one(4, 0).unwrap(), 1);
        assert_eq!(check_one(5, 6).unwrap_err().rule, "age");
        assert_eq!(check_one(5, 7).unwrap(), 1, "that came a moment after it was whole");
    }
}
