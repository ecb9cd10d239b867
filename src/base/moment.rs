//! Moments as people write them: the text of RFC 3339.

use std::time::{Duration, UNIX_EPOCH};

use super::ids::Timestamp;

/// The last moment that has a text: the end of the year 9999.
pub const MOMENT_MAX: Timestamp = Timestamp(253_402_300_799_999_999);

/// The moment that a text names, with any offset, from 1970 up to [`MOMENT_MAX`] in UTC; `None` where it names none.
#[must_use]
pub fn parsed(text: &str) -> Option<Timestamp> {
    let (local, ahead_s) = zone(text)?;
    let moment = humantime::parse_rfc3339(&format!("{}Z", local.replace('t', "T"))).ok()?;
    let micros = moment.duration_since(UNIX_EPOCH).ok()?.as_micros();
    let micros = i64::try_from(micros).ok()?.checked_sub(1_000_000 * ahead_s)?;
    u64::try_from(micros).ok().map(Timestamp).filter(|moment| *moment <= MOMENT_MAX)
}

/// A time without its zone, and the seconds by which that is ahead of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some((local, 0));
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("+", zone) => (1, zone),
        ("-", zone) => (-1, zone),
        _ => return None,
    };
    let (hours, minutes) = zone.split_once(':')?;
    let number = |text: &str, below: i64| {
        let is_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &i64| is_digits && *number < below)
    };
    Some((local, sign * (number(hours, 24)? * 3_600 + number(minutes, 60)? * 60)))
}

/// A moment to the microsecond, in UTC. One after [`MOMENT_MAX`] is shown as that.
#[must_use]
pub fn text(at: Timestamp) -> String {
    let since = Duration::from_micros(at.min(MOMENT_MAX).0);
    humantime::format_rfc3339_micros(UNIX_EPOCH + since).to_string()
}

/// The same to the second.
#[must_use]
pub fn text_of_seconds(at: Timestamp) -> String {
    let since = Duration::from_micros(at.min(MOMENT_MAX).0);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_read_with_their_offsets_and_written_in_utc() {
        let again = |text: &str| parsed(text).map(super::text);
        let utc = Some("2027-01-31T00:00:00.500000Z".to_owned());
        for same in [
            "2027-01-31T00:00:00.5Z",
            "2027-01-31t00:00:00.5z",
            "2027-01-31T05:30:00.5+05:30",
            "2027-01-30T16:00:00.5-08:00",
        ] {
            assert_eq!(again(same), utc, "{same}");
        }
        for wrong in [
            "",
            "now",
            "2027-01-31",
            "2027-01-31T00:00:00",
            "2027-01-31T00:00:00+24:00",
            "+01:00",
            "2027-13-31T00:00:00Z",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_moment_lies_after_the_year_9999() {
        let last = "9999-12-31T23:59:59.999999Z";
        assert_eq!(parsed(last), Some(MOMENT_MAX));
        assert_eq!(text(MOMENT_MAX), last);
        assert_eq!(parsed("9999-12-31T23:59:59+00:01").map(text_of_seconds).unwrap(), {
            "9999-12-31T23:58:59Z"
        });
        for after in ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999-00:01"] {
            assert_eq!(parsed(after), None, "{after}");
        }
        assert_eq!(text(Timestamp(u64::MAX)), last);
    }

    proptest! {
        #[test]
        fn whatever_is_read_has_a_text_that_names_it(
            before_end in prop_oneof![0..2 * 86_400_000_000_u64, 0..=MOMENT_MAX.0],
            zone in prop_oneof![Just("Z".to_owned()), "[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]"],
        ) {
            let written = text(Timestamp(MOMENT_MAX.0 - before_end)).replace('Z', &zone);
            if let Some(moment) = parsed(&written) {
                prop_assert_eq!(parsed(&text(moment)), Some(moment), "{}", written);
                prop_assert!(moment <= MOMENT_MAX, "{}", written);
            }
        }

        #[test]
        fn every_number_has_a_text(micros in any::<u64>()) {
            prop_assert!(parsed(&text(Timestamp(micros))).is_some());
        }
    }
}
