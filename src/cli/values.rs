//! Cuts a text into the JSON values that it holds: one a line, each over as many
//! lines as it likes, or as the elements of one array. Pure: bytes go in, values
//! come out; whether a value is one is for its reader to say.

/// How the values stand in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Nothing but white space was seen, and an array may begin.
    Unknown,
    /// One after the other.
    Lines,
    /// As the elements of an array that has begun.
    Array,
}

/// The state between two bytes.
#[derive(Debug)]
pub(super) struct Values {
    form: Form,
    /// Brackets of the value that are open.
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// The last byte of the value, white space aside.
    last: u8,
    /// A line break followed it.
    broken: bool,
}

impl Values {
    /// A text whose values are on lines of their own.
    pub(super) fn of_lines() -> Self {
        Self::new(Form::Lines)
    }

    /// A text that may also be one array of values.
    pub(super) fn of_lines_or_array() -> Self {
        Self::new(Form::Unknown)
    }

    fn new(form: Form) -> Self {
        Self { form, depth: 0, in_string: false, escaped: false, last: 0, broken: false }
    }

    /// Whether an array has begun and not ended.
    pub(super) fn is_in_array(&self) -> bool {
        self.form == Form::Array
    }

    /// Takes bytes up to the end of a value, or all: how many it took, and whether
    /// `value` is complete. A value that is blank is an empty line.
    pub(super) fn take(&mut self, bytes: &[u8], value: &mut Vec<u8>) -> (usize, bool) {
        let mut start = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            if self.form == Form::Unknown && !byte.is_ascii_whitespace() {
                self.form = if byte == b'[' { Form::Array } else { Form::Lines };
                if byte == b'[' {
                    start = at + 1;
                    continue;
                }
            }
            let end = match self.step(byte) {
                Step::Within => continue,
                Step::EndsBefore => at,
                Step::EndsWith => at + 1,
                Step::EndsAround => {
                    value.extend_from_slice(bytes.get(start..at).unwrap_or_default());
                    // An element that is missing must not go unnoticed.
                    if byte == b',' && value.trim_ascii().is_empty() {
                        value.push(byte);
                    }
                    self.begin();
                    return (at + 1, true);
                }
            };
            value.extend_from_slice(bytes.get(start..end).unwrap_or_default());
            self.begin();
            return (end, true);
        }
        value.extend_from_slice(bytes.get(start..).unwrap_or_default());
        (bytes.len(), false)
    }

    fn begin(&mut self) {
        *self = Self::new(self.form);
    }

    fn step(&mut self, byte: u8) -> Step {
        if self.in_string {
            match byte {
                // No string holds a line break: the line was torn.
                b'\n' => return Step::EndsWith,
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Step::Within;
        }
        if byte.is_ascii_whitespace() {
            self.broken |= byte == b'\n';
            let ends = byte == b'\n' && self.depth == 0 && self.form == Form::Lines;
            return if ends { Step::EndsWith } else { Step::Within };
        }
        if self.depth == 0 && self.form == Form::Array && matches!(byte, b',' | b']') {
            if byte == b']' {
                self.form = Form::Lines;
            }
            return Step::EndsAround;
        }
        // Within a value only these follow another; else a line was torn, and what
        // comes next is not its end.
        let follows = matches!(byte, b',' | b':' | b'}' | b']');
        let opens = matches!(self.last, b'{' | b'[' | b',' | b':');
        if self.depth > 0 && self.broken && !follows && !opens {
            return Step::EndsBefore;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        (self.last, self.broken) = (byte, false);
        Step::Within
    }
}

/// What a byte does to a value.
enum Step {
    /// The value goes on.
    Within,
    /// The byte is not of it any more.
    EndsBefore,
    /// It is its last.
    EndsWith,
    /// It separates it from the next one.
    EndsAround,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The values of a text that arrives in pieces of that size.
    fn cut(mut values: Values, text: &str, piece: usize) -> (Vec<String>, bool) {
        let (mut found, mut value) = (Vec::new(), Vec::new());
        let mut add = |value: &mut Vec<u8>| {
            let text = String::from_utf8(std::mem::take(value)).unwrap();
            if !text.trim().is_empty() {
                found.push(text.trim().to_owned());
            }
        };
        for piece in text.as_bytes().chunks(piece) {
            let mut piece = piece;
            while !piece.is_empty() {
                let (used, complete) = values.take(piece, &mut value);
                piece = &piece[used..];
                if complete {
                    add(&mut value);
                }
            }
        }
        add(&mut value);
        (found, values.is_in_array())
    }

    #[test]
    fn values_are_cut_wherever_they_stand() {
        for (text, wanted) in [
            ("1\n\n {\"a\":[1,2]} \r\n\"x\"", &["1", "{\"a\":[1,2]}", "\"x\""][..]),
            (
                "{\n \"a\": [\n1,\n2\n]\n,\"b\"\n:\n3}\n{}\n",
                &["{\n \"a\": [\n1,\n2\n]\n,\"b\"\n:\n3}", "{}"],
            ),
            ("[1, {\"a\":\"],[\\\"\"},\n[2,3]\n]\n", &["1", "{\"a\":\"],[\\\"\"}", "[2,3]"]),
            (" \n[]\n", &[]),
            ("[1,,2]", &["1", ",", "2"]),
            // What is torn ends where its line does.
            ("{\"a\":1\n{\"b\":2}\n", &["{\"a\":1", "{\"b\":2}"]),
            ("{\"a\":\"x\n{\"b\":2}\n", &["{\"a\":\"x", "{\"b\":2}"]),
            ("[{\"a\":1\n{\"b\":2}]\n", &["{\"a\":1", "{\"b\":2}"]),
        ] {
            for piece in 1..=text.len() {
                let (found, open) = cut(Values::of_lines_or_array(), text, piece);
                assert_eq!(found, wanted, "{text:?} in pieces of {piece}");
                assert!(!open, "{text:?}");
            }
        }
        assert!(cut(Values::of_lines_or_array(), "[1,2", 9).1, "an array without an end");
        assert_eq!(cut(Values::of_lines(), "[1]\n[\n2]\n", 1).0, ["[1]", "[\n2]"]);
    }

    proptest! {
        #[test]
        fn any_values_come_back(
            texts in prop::collection::vec("[a-z\\[\\]{}\",:\\\\ é]{0,9}", 0..9),
            piece in 1_usize..20,
            pretty: bool,
            array: bool,
        ) {
            let values: Vec<serde_json::Value> =
                texts.iter().map(|text| serde_json::json!({"a": [text, {"b": null}], "c": 1})).collect();
            let print = |value| match pretty {
                true => serde_json::to_string_pretty(value).unwrap(),
                false => serde_json::to_string(value).unwrap(),
            };
            let printed: Vec<_> = values.iter().map(print).collect();
            let text = if array { format!("[{}]", printed.join(",")) } else { printed.join("\n") };
            let (found, open) = cut(Values::of_lines_or_array(), &text, piece);
            prop_assert_eq!(found, printed);
            prop_assert!(!open);
        }
    }
}
