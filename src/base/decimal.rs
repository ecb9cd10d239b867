//! Whole numbers as decimal text, written without a detour over a `String`.

use bytes::BufMut;

/// The digits of `u64::MAX`.
pub const DIGITS_MAX: usize = 20;

/// Appends `number` in decimal, two digits a step.
pub fn write(out: &mut impl BufMut, mut number: u64) {
    const PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[b'0'; 2]; 100];
        let mut n = 0;
        while n < 100 {
            pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
            n += 1;
        }
        pairs
    };
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    while number >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if number > 0 || at == DIGITS_MAX {
        at -= 1;
        digits[at] = b'0' + number as u8;
    }
    out.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_are_written_as_the_standard_library_does(
            number in any::<u64>(), shift in 0u32..64,
        ) {
            for number in [number, number >> shift, u64::MAX >> shift, 10u64.pow(shift % 20)] {
                let mut out = Vec::new();
                write(&mut out, number);
                prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
            }
        }
    }

    #[test]
    fn zero_has_a_digit() {
        let mut out = Vec::new();
        write(&mut out, 0);
        assert_eq!(out, b"0");
    }
}
