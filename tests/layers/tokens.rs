//! Rust source as words and marks: what the rules need of it, and no more.

/// A word, `::`, or any other mark; comments and literals are none of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    PathSeparator,
    Mark(u8),
}

/// The words and marks of a source text, without comments and literals, each
/// with its line.
pub fn tokens(text: &str) -> Vec<(Token, usize)> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let (mut found, mut at) = (Vec::new(), 0);
    let mut line = 1;
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let length = if rest.starts_with(b"//") {
            rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if byte == b'"' || rest.starts_with(b"b\"") {
            let open = if byte == b'"' { 1 } else { 2 };
            quoted(rest, open, b'"')
        } else if byte == b'\'' {
            character_or_lifetime(rest)
        } else if is_word(byte) {
            let length = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
            found.push((Token::Word(text[at..at + length].to_owned()), line));
            length
        } else if rest.starts_with(b"::") {
            found.push((Token::PathSeparator, line));
            2
        } else {
            if !byte.is_ascii_whitespace() {
                found.push((Token::Mark(byte), line));
            }
            1
        };
        line += rest[..length].iter().filter(|&&byte| byte == b'\n').count();
        at += length;
    }
    found
}

/// The length of a comment that may hold others.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string such as `r#"…"#`, if there is one.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = if rest.starts_with(b"br") { 2 } else { usize::from(rest.starts_with(b"r")) };
    let hashes = rest.get(prefix..)?.iter().take_while(|&&byte| byte == b'#').count();
    let open = prefix + hashes;
    if prefix == 0 || rest.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let end = rest[open + 1..].windows(close.len()).position(|window| window == close)?;
    Some(open + 1 + end + close.len())
}

/// The length of a literal that starts with `open` bytes and ends with
/// `quote`.
fn quoted(rest: &[u8], open: usize, quote: u8) -> usize {
    let mut at = open;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of `'x'`, or of the quote alone before a lifetime's name.
fn character_or_lifetime(rest: &[u8]) -> usize {
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(8)]).into_owned();
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted(rest, 1, b'\''),
        (Some(char), Some('\'')) => 2 + char.len_utf8(),
        _ => 1,
    }
}
