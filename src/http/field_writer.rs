//! Writing the header lines of an answer.

use crate::base::decimal;

/// Writes header lines to the head of an answer.
pub struct FieldWriter<'a> {
    pub(super) out: &'a mut Vec<u8>,
}

impl FieldWriter<'_> {
    /// Writes one header. Control characters in the value are sent as spaces,
    /// so that no value can begin another line.
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.bytes(name, value.as_bytes());
    }

    /// Writes one header whose value is a number.
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        decimal::write(self.out, value);
        self.out.extend_from_slice(b"\r\n");
    }

    pub(super) fn bytes(&mut self, name: &'static str, value: &[u8]) {
        self.name(name);
        if value.iter().any(u8::is_ascii_control) {
            let clean = |&byte: &u8| if byte.is_ascii_control() { b' ' } else { byte };
            self.out.extend(value.iter().map(clean));
        } else {
            self.out.extend_from_slice(value);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    fn name(&mut self, name: &'static str) {
        debug_assert!(
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            "not a header name: {name}"
        );
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
    }
}
