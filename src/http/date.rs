//! The text of a `Date` header (RFC 9110, section 5.6.7), computed once a second
//! by whoever owns a clock.

/// The last second whose year has four digits: 9999-12-31 23:59:59.
const LAST_SECOND: u64 = 253_402_300_799;
const SECONDS_PER_DAY: u64 = 86_400;

/// A moment in the form that the header `Date` wants, for example
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateText([u8; 29]);

impl DateText {
    /// The text of a moment in seconds since 1970-01-01 UTC. Moments after the
    /// year 9999 read as its last second.
    #[must_use]
    pub fn from_unix_seconds(seconds: u64) -> Self {
        let seconds = seconds.min(LAST_SECOND);
        let (days, second) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        let (year, month, day) = civil_date(days);
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        // 1970-01-01 was a Thursday, the fifth name of a week that starts on Sunday.
        let weekday = (days + 4) % 7;
        text[0..3].copy_from_slice(name(b"SunMonTueWedThuFriSat", weekday));
        text[5..7].copy_from_slice(&two_digits(day));
        text[8..11].copy_from_slice(name(b"JanFebMarAprMayJunJulAugSepOctNovDec", month - 1));
        text[12..14].copy_from_slice(&two_digits(year / 100));
        text[14..16].copy_from_slice(&two_digits(year % 100));
        text[17..19].copy_from_slice(&two_digits(second / 3600));
        text[20..22].copy_from_slice(&two_digits(second / 60 % 60));
        text[23..25].copy_from_slice(&two_digits(second % 60));
        Self(text)
    }

    /// The text's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01.
/// Years are taken to begin in March, so that a leap day comes last.
const fn civil_date(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_400_YEARS: u64 = 146_097;
    // Days from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let era = days / DAYS_PER_400_YEARS;
    let day_of_era = days % DAYS_PER_400_YEARS;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

fn name(names: &[u8], index: u64) -> &[u8] {
    names.chunks_exact(3).nth(index as usize).unwrap_or(b"???")
}

const fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_known_dates() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let date = DateText::from_unix_seconds(seconds);
            assert_eq!(std::str::from_utf8(date.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn days_follow_one_another() {
        let mut before = civil_date(0);
        for day in 1..200_000 {
            let (y, m, d) = civil_date(day);
            let follows = (y, m, d) == (before.0, before.1, before.2 + 1)
                || (y, m, d) == (before.0, before.1 + 1, 1)
                || (y, m, d) == (before.0 + 1, 1, 1) && before.1 == 12;
            assert!(
                follows && (28..=31).contains(&before.2) || before.2 + 1 == d,
                "{before:?} {y}-{m}-{d}"
            );
            before = (y, m, d);
        }
    }
}
