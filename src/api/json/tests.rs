use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

/// The grammar once more, as a pushdown automaton that takes one byte at a
/// time: slow, but plain enough to be checked by eye, and the offset at which
/// it refuses is by construction that of the first wrong byte.
mod reference {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Value,
        ValueOrEnd,
        Name,
        NameOrEnd,
        Colon,
        After,
        Text { name: bool },
        Escape { name: bool },
        Hex { name: bool, left: u8 },
        Minus,
        Zero,
        Integer,
        Point,
        Fraction,
        Exponent,
        ExponentSign,
        ExponentDigits,
        Literal { rest: &'static [u8] },
    }

    /// The offset of the first wrong byte; the length of a text that is cut.
    pub(super) fn refuses(bytes: &[u8], depth_max: usize) -> Option<usize> {
        use State::*;
        let mut state = Value;
        let mut open = Vec::new();
        for (at, &byte) in bytes.iter().enumerate() {
            // A number ends at the first byte that does not continue it.
            let number_ends = match state {
                Zero => !matches!(byte, b'.' | b'e' | b'E'),
                Integer => !matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E'),
                Fraction => !matches!(byte, b'0'..=b'9' | b'e' | b'E'),
                ExponentDigits => !byte.is_ascii_digit(),
                _ => false,
            };
            if number_ends {
                state = After;
            }
            let between = matches!(state, Value | ValueOrEnd | Name | NameOrEnd | Colon | After);
            if between && matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                continue;
            }
            let next = match (state, byte) {
                (ValueOrEnd, b']') | (NameOrEnd, b'}') => {
                    open.pop();
                    Some(After)
                }
                (Value | ValueOrEnd, b'{' | b'[') if open.len() < depth_max => {
                    open.push(byte);
                    Some(if byte == b'{' { NameOrEnd } else { ValueOrEnd })
                }
                (Value | ValueOrEnd, b'"') => Some(Text { name: false }),
                (Value | ValueOrEnd, b'-') => Some(Minus),
                (Value | ValueOrEnd | Minus, b'0') => Some(Zero),
                (Value | ValueOrEnd | Minus, b'1'..=b'9') => Some(Integer),
                (Value | ValueOrEnd, b't') => Some(Literal { rest: b"rue" }),
                (Value | ValueOrEnd, b'f') => Some(Literal { rest: b"alse" }),
                (Value | ValueOrEnd, b'n') => Some(Literal { rest: b"ull" }),
                (Name | NameOrEnd, b'"') => Some(Text { name: true }),
                (Colon, b':') => Some(Value),
                (After, b',') if open.last() == Some(&b'{') => Some(Name),
                (After, b',') if open.last() == Some(&b'[') => Some(Value),
                (After, b'}') if open.last() == Some(&b'{') => {
                    open.pop();
                    Some(After)
                }
                (After, b']') if open.last() == Some(&b'[') => {
                    open.pop();
                    Some(After)
                }
                (Text { name }, b'"') => Some(if name { Colon } else { After }),
                (Text { name }, b'\\') => Some(Escape { name }),
                (Text { name }, 0x20..) => Some(Text { name }),
                (Escape { name }, b'u') => Some(Hex { name, left: 4 }),
                (Escape { name }, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                    Some(Text { name })
                }
                (Hex { name, left }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    Some(if left == 1 { Text { name } } else { Hex { name, left: left - 1 } })
                }
                (Integer, b'0'..=b'9') => Some(Integer),
                (Zero | Integer, b'.') => Some(Point),
                (Point | Fraction, b'0'..=b'9') => Some(Fraction),
                (Zero | Integer | Fraction, b'e' | b'E') => Some(Exponent),
                (Exponent, b'+' | b'-') => Some(ExponentSign),
                (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => Some(ExponentDigits),
                (Literal { rest }, _) if rest.first() == Some(&byte) => {
                    Some(if rest.len() == 1 { After } else { Literal { rest: &rest[1..] } })
                }
                _ => None,
            };
            match next {
                Some(next) => state = next,
                None => return Some(at),
            }
        }
        let whole = matches!(state, After | Zero | Integer | Fraction | ExponentDigits);
        (!whole || !open.is_empty()).then_some(bytes.len())
    }

    /// `bytes` without white space outside strings, a byte at a time.
    pub(super) fn compact(bytes: &[u8]) -> Vec<u8> {
        let (mut inside, mut escaped) = (false, false);
        let keep = |byte: &u8| {
            let space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r') && !inside;
            inside ^= *byte == b'"' && !escaped;
            escaped = inside && !escaped && *byte == b'\\';
            !space
        };
        bytes
            .iter()
            .copied()
            .filter({
                let mut keep = keep;
                move |byte| keep(byte)
            })
            .collect()
    }
}

const DEEP: usize = 1 << 20;

/// Holds the scanner against the automaton, against serde_json, whose raw values
/// take the whole grammar and bound neither depth nor numbers, and against
/// simd-json, which takes a part of it.
fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = validate(bytes, DEEP);
    let serde = serde_json::from_slice::<&RawValue>(bytes);
    prop_assert_eq!(ours.is_ok(), serde.is_ok(), "{:?} {:?}", ours, serde);
    prop_assert!(ours.is_ok() || !simd_accepts(bytes));
    let ill = std::str::from_utf8(bytes).err().map(|ill| ill.valid_up_to());
    let refused = reference::refuses(bytes, DEEP);
    let first = match (refused, ill) {
        (Some(refused), Some(ill)) => Some(refused.min(ill)),
        (refused, ill) => refused.or(ill),
    };
    match ours {
        Err(error) => {
            prop_assert_eq!(Some(error.offset), first, "{}", error);
            prop_assert_eq!(error.offset == bytes.len(), error.reason == Reason::End);
        }
        Ok(value) => {
            prop_assert_eq!(first, None);
            let text = &bytes[value.start..value.end];
            prop_assert_eq!(text, bytes.trim_ascii());
            let mut out = Vec::new();
            compact(&mut out, text);
            prop_assert_eq!(&out, &reference::compact(text));
            prop_assert_eq!(out.len(), value.compact_bytes());
            prop_assert_eq!(reference::refuses(&out, DEEP), None);
            if let Ok(sent) = serde_json::from_slice::<serde_json::Value>(text) {
                prop_assert_eq!(sent, serde_json::from_slice::<serde_json::Value>(&out).unwrap());
            }
        }
    }
    Ok(())
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,5})",
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
        "[1-9][0-9]{400,600}",
    ]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z ]{0,40}",
        "\\\\[\"\\\\/bfnrt]",
        "\\\\u[0-9a-fA-F]{4}",
        "\\\\u[dD][89a-fA-F][0-9]{2}",
        "[é€😀\u{7f}{}\\[\\],:]{1,3}",
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

pub(in crate::api) fn document() -> impl Strategy<Value = String> {
    let space = || "[ \t\r\n]{0,2}";
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("null".to_owned()),
        number(),
        string(),
    ];
    leaf.prop_recursive(6, 24, 4, move |inner| {
        let element = (space(), inner.clone(), space()).prop_map(|(a, v, b)| a + &v + &b);
        let member = (space(), string(), space(), space(), inner, space())
            .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
        prop_oneof![
            (proptest::collection::vec(element, 0..4), space()).prop_map(|(elements, space)| {
                if elements.is_empty() {
                    format!("[{space}]")
                } else {
                    format!("[{}]", elements.join(","))
                }
            }),
            (proptest::collection::vec(member, 0..4), space()).prop_map(|(members, space)| {
                if members.is_empty() {
                    format!("{{{space}}}")
                } else {
                    format!("{{{}}}", members.join(","))
                }
            }),
        ]
    })
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        proptest::sample::select(&b"{}[]:,\"\\-+.eE019untfrals \n\t\r\0\x1f\x7f/x"[..]),
        any::<u8>(),
    ]
}

fn simd_accepts(bytes: &[u8]) -> bool {
    simd_json::to_tape(&mut bytes.to_vec()).is_ok()
}

/// Why simd-json could never have the last word on a body.
#[test]
fn valid_texts_that_simd_json_refuses_are_accepted() {
    for valid in ["1e400", "123456789012345678901234567890", r#""\ud800""#, r#"["\udc00x"]"#] {
        assert!(!simd_accepts(valid.as_bytes()), "{valid}");
        assert!(validate(valid.as_bytes(), DEEP).is_ok(), "{valid}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn documents_are_accepted(
        before in "[ \t\r\n]{0,2}", document in document(), after in "[ \t\r\n]{0,2}",
    ) {
        let text = before + &document + &after;
        prop_assert!(validate(text.as_bytes(), DEEP).is_ok(), "{}", text);
        agrees(text.as_bytes())?;
    }

    #[test]
    fn damaged_documents_are_judged_alike(
        document in document(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0..4u8, byte()), 1..4),
    ) {
        let mut bytes = document.into_bytes();
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        agrees(&bytes)?;
    }

    #[test]
    fn any_bytes_are_judged_alike(bytes in proptest::collection::vec(byte(), 0..40)) {
        agrees(&bytes)?;
    }

    #[test]
    fn tokens_in_any_order_are_judged_alike(
        tokens in proptest::collection::vec(proptest::sample::select(&[
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"\"", "1", "-0", "0", "1e5", ".5", "true",
            "null", "false", " ", "\n", "{}", "[]", "\"k\":", "\\", "\"", "\u{feff}",
        ][..]), 0..14),
    ) {
        agrees(tokens.concat().as_bytes())?;
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands(length in 0usize..140, at in 0usize..140, byte in byte()) {
        let mut bytes = vec![b'a'; length];
        if let Some(there) = bytes.get_mut(at) {
            *there = byte;
        }
        let first = bytes.iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        prop_assert_eq!(text::plain_end(&bytes, 0), first.unwrap_or(length));
    }

    #[test]
    fn strings_are_unescaped_as_serde_does(string in string()) {
        let ours = unescape(&string[1..string.len() - 1]);
        match serde_json::from_str::<String>(&string) {
            Ok(serde) => prop_assert_eq!(ours.unwrap(), serde),
            Err(_) => {
                let lone = ours.unwrap_err();
                let escape = &string[1 + lone.offset..];
                let unit = u32::from_str_radix(&escape[2..6], 16).unwrap();
                prop_assert!(escape.starts_with("\\u") && (0xd800..0xe000).contains(&unit));
            }
        }
    }
}

/// Texts that the grammar takes, many of which parsers refuse.
#[test]
fn odd_but_valid_texts_are_accepted() {
    let long_digits = "7".repeat(500);
    let long_fraction = format!("0.{}1", "0".repeat(500));
    for valid in [
        "0",
        "-0",
        "-0.0",
        "0e0",
        "0E+0",
        "0e-00",
        "1e400",
        "-1e-9999",
        "1E99999999999999999999",
        "123456789012345678901234567890",
        "1.0000000000000000000000000000001",
        &long_digits,
        &long_fraction,
        "true",
        "false",
        "null",
        "\"\"",
        "[]",
        "{}",
        " [ ] ",
        "\t{\r\n}\n",
        "[[]   ]",
        "[1,2,[3,{\"a\":[{}]}],null]",
        "{\"\":0}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":{\"a\":{\"a\":{}}}}",
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\ud800""#,
        r#""\ud800x""#,
        r#""\uDFAA""#,
        r#""\ud83d\ude00""#,
        r#""\u0000""#,
        r#""\uFFFF""#,
        r#""\"\\\/\b\f\n\r\t""#,
        "\"\u{7f}\"",
        "\"\u{2028}\u{2029}\"",
        "\"\u{fffe}\u{10ffff}\"",
        "\"\u{feff}\"",
        "\"😀é\"",
        r#"["\\"]"#,
        r#"["\\\""]"#,
        r#"{"a\"b":"\\"}"#,
    ] {
        assert!(validate(valid.as_bytes(), DEEP).is_ok(), "{valid}");
        agrees(valid.as_bytes()).unwrap();
    }
}

#[test]
fn what_the_grammar_refuses_is_refused_at_its_first_wrong_byte() {
    use Reason::*;
    for (text, offset, reason) in [
        (&b""[..], 0, End),
        (b" \n", 2, End),
        (b"\xef\xbb\xbf{}", 0, ByteOrderMark),
        (b"{} x", 3, Trailing),
        (b"{}{}", 2, Trailing),
        (b"1 2", 2, Trailing),
        (b"[1]]", 3, Trailing),
        (b"\"a\"\0", 3, Trailing),
        (b"01", 1, Trailing),
        (b"-01", 2, Trailing),
        (b"0x10", 1, Trailing),
        (b"1_000", 1, Trailing),
        (b"[01]", 2, InArray),
        (b"[1 2]", 3, InArray),
        (b"[1}", 2, InArray),
        (b"[1:2]", 2, InArray),
        (b"[\"a\" \"b\"]", 5, InArray),
        (b"[1.2.3]", 4, InArray),
        (b"[1e5.0]", 4, InArray),
        (b"[1,]", 3, Value),
        (b"[,1]", 1, Value),
        (b"[1,,2]", 3, Value),
        (b"+1", 0, Value),
        (b".5", 0, Value),
        (b"NaN", 0, Value),
        (b"Infinity", 0, Value),
        (b"True", 0, Value),
        (b"'a'", 0, Value),
        (b"]", 0, Value),
        (b"}", 0, Value),
        (b"{\"a\":}", 5, Value),
        (b"{\"a\":,}", 5, Value),
        (b"\xa0[]", 0, Utf8),
        (b"\x0c[]", 0, Value),
        (b"\0", 0, Value),
        (b"/**/1", 0, Value),
        (b"[1//\n]", 2, InArray),
        (b"[\xe2\x80\x83]", 1, Value),
        (b"{1:1}", 1, Name),
        (b"{a:1}", 1, Name),
        (b"{'a':1}", 1, Name),
        (b"{\"a\":1,}", 7, Name),
        (b"{,}", 1, Name),
        (b"{]", 1, Name),
        (b"{null:1}", 1, Name),
        (b"{\"a\"}", 4, Colon),
        (b"{\"a\" 1}", 5, Colon),
        (b"{\"a\",1}", 4, Colon),
        (b"{\"a\":1 \"b\":2}", 7, InObject),
        (b"{\"a\":1]", 6, InObject),
        (b"{\"a\"::1}", 5, Value),
        (b"-", 1, End),
        (b"1.", 2, End),
        (b"1e", 2, End),
        (b"1e+", 3, End),
        (b"[-]", 2, Digit),
        (b"[1.]", 3, Digit),
        (b"[1.e1]", 3, Digit),
        (b"[1e]", 3, Digit),
        (b"[1e+-2]", 4, Digit),
        (b"-Infinity", 1, Digit),
        (b"--1", 1, Digit),
        (b"-.5", 1, Digit),
        (b"nul", 3, End),
        (b"[nul]", 4, Literal),
        (b"truE", 3, Literal),
        (b"tru\0", 3, Literal),
        (b"trueish", 4, Trailing),
        (b"\"a", 2, End),
        (b"\"\\", 2, End),
        (b"\"\\u12", 5, End),
        (b"\"a\nb\"", 2, Control),
        (b"\"\0\"", 1, Control),
        (b"\"\x1f\"", 1, Control),
        (b"\"\t\"", 1, Control),
        (b"\"\\x41\"", 2, Escape),
        (b"\"\\'\"", 2, Escape),
        (b"\"\\\n\"", 2, Escape),
        (b"\"\\U0041\"", 2, Escape),
        (b"\"\\u00G0\"", 5, Hex),
        (b"\"\\u\"", 3, Hex),
        (b"\"\\u 041\"", 3, Hex),
        (b"\"\\u+041\"", 3, Hex),
        (b"\"\xff\"", 1, Utf8),
        (b"\"\xc0\xaf\"", 1, Utf8),
        (b"\"\xed\xa0\x80\"", 1, Utf8),
        (b"\"\xf4\x90\x80\x80\"", 1, Utf8),
        (b"\"ab\xe2\x82\"", 3, Utf8),
        (b"[}\"\xff\"", 1, Value),
        (b"[", 1, End),
        (b"{", 1, End),
        (b"[1", 2, End),
        (b"[1,", 3, End),
        (b"{\"a\"", 4, End),
        (b"{\"a\":", 5, End),
        (b"{\"a\":1", 6, End),
        (b"{\"a\":1,", 7, End),
        (b"[[", 2, End),
    ] {
        assert_eq!(
            validate(text, DEEP),
            Err(JsonError { offset, reason }),
            "{}",
            text.escape_ascii()
        );
        agrees(text).unwrap();
    }
}

#[test]
fn depth_is_bounded_exactly_and_without_recursion() {
    for depth_max in [0, 1, 2, 63, 64, 65, 127, 128, 129, 200] {
        for (open, inside, close) in
            [("[", "", "]"), ("{\"a\":", "1", "}"), ("[ {\"a\":", "0", "} ]")]
        {
            let levels = open.matches(['[', '{']).count();
            for depth in [depth_max / levels, depth_max / levels + 1] {
                let text = open.repeat(depth) + inside + &close.repeat(depth);
                let text = if text.is_empty() { "1".to_owned() } else { text };
                let refused = reference::refuses(text.as_bytes(), depth_max);
                match validate(text.as_bytes(), depth_max) {
                    Ok(_) => assert_eq!(refused, None, "{depth_max} {text}"),
                    Err(error) => {
                        assert_eq!(Some(error.offset), refused, "{depth_max} {text}");
                        assert_eq!(error.reason, Reason::Depth(depth_max));
                    }
                }
            }
        }
    }
    let levels = 1_000_000;
    assert!(validate(("[".repeat(levels) + &"]".repeat(levels)).as_bytes(), levels).is_ok());
    let error = validate("[".repeat(levels).as_bytes(), levels).unwrap_err();
    assert_eq!(error, JsonError { offset: levels, reason: Reason::End });
}

#[test]
fn kinds_of_brackets_are_kept_apart_at_every_depth() {
    // Alternating runs cross the words in which the open brackets are kept.
    let opens: String = (0..300).map(|n| if n % 7 < 3 { "[" } else { "{\"a\":" }).collect();
    let closes: String = (0..300).rev().map(|n| if n % 7 < 3 { ']' } else { '}' }).collect();
    let good = format!("{opens}1{closes}");
    assert!(validate(good.as_bytes(), 300).is_ok());
    for at in 0..closes.len() {
        let mut bad = good.clone().into_bytes();
        let at = opens.len() + 1 + at;
        bad[at] = if bad[at] == b']' { b'}' } else { b']' };
        assert_eq!(validate(&bad, 300).unwrap_err().offset, at);
    }
}
