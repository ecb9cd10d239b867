//! From when to when a certificate is valid: the one thing that is read of it here, since what
//! rustls says of it comes with a handshake, and too late for who runs a node.

/// The tags of DER that stand on the way.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const VERSION: u8 = 0xa0;
}

/// When a certificate is valid, in seconds since 1970-01-01 UTC, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: i64,
    pub(super) until: i64,
}

/// What the certificate in `der` says; `None` where it is not laid out as RFC 5280 has it.
pub(super) fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = part(der, tag::SEQUENCE)?;
    let (mut rest, _) = part(certificate, tag::SEQUENCE)?;
    if let Some((_, after)) = part(rest, tag::VERSION) {
        rest = after;
    }
    // The serial number, the algorithm of the signature, and the issuer.
    for skipped in [tag::INTEGER, tag::SEQUENCE, tag::SEQUENCE] {
        (_, rest) = part(rest, skipped)?;
    }
    let (times, _) = part(rest, tag::SEQUENCE)?;
    let (from, times) = time(times)?;
    let (until, _) = time(times)?;
    Some(Validity { from, until })
}

/// The content of the value of that tag that `der` begins with, and what follows it.
fn part(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match short {
        0..0x80 => (usize::from(short), rest),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            if bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length)
}

/// The time that `der` begins with, and what follows it.
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, year_digits) = match part(der, tag::UTC_TIME) {
        Some((text, rest)) => (text, rest, 2),
        None => part(der, tag::GENERALIZED_TIME).map(|(text, rest)| (text, rest, 4))?,
    };
    let (year, fields) = text.split_at_checked(year_digits)?;
    let (year, [month, day, hour, minute, second]) = (number(year)?, fields_of(fields)?);
    let year = match year_digits {
        2 if year < 50 => 2000 + year,
        2 => 1900 + year,
        _ => year,
    };
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second, rest))
}

/// Month to second, as `MMDDhhmmssZ`.
fn fields_of(text: &[u8]) -> Option<[i64; 5]> {
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.len() == 10)?;
    let mut fields = [0; 5];
    for (field, two) in fields.iter_mut().zip(digits.chunks(2)) {
        *field = number(two)?;
    }
    Some(fields)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Days from 1970-01-01 to that date of the Gregorian calendar: years are counted from March, so
/// that a leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From 0000-03-01 to 1970-01-01 it is 719,468 days.
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut parameters = rcgen::CertificateParams::new(vec!["here".into()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        parameters.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_ends_are_read_whichever_form_they_have() {
        let valid = validity(&certificate((1970, 1, 1), (2024, 2, 29))).unwrap();
        assert_eq!(valid, Validity { from: 0, until: 1_709_164_800 });
        // From 2050 on times are written otherwise.
        let valid = validity(&certificate((1999, 12, 31), (2100, 3, 1))).unwrap();
        assert_eq!(valid, Validity { from: 946_598_400, until: 4_107_542_400 });
    }

    #[test]
    fn times_that_are_none_are_not_read() {
        let read = |text: &str| {
            time(&[&[tag::GENERALIZED_TIME, 15], text.as_bytes()].concat()).map(|(at, _)| at)
        };
        assert_eq!(read("99991231235959Z"), Some(253_402_300_799));
        for wrong in [
            "99991231240000Z",
            "99991231236000Z",
            "99991231235960Z",
            "99991331000000Z",
            "99990132000000Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let der = certificate((2020, 1, 1), (2030, 1, 1));
        assert!(validity(&der).is_some());
        // Up to the end of the validity, which is where it is read.
        for cut in 0..60 {
            assert_eq!(validity(&der[..cut]), None, "{cut}");
        }
        for bytes in [&b""[..], b"0", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"GET / HTTP/1.1"] {
            assert_eq!(validity(bytes), None);
        }
    }
}
