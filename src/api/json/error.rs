//! What is wrong with a text that should be JSON, and where.

/// The first wrong byte of a text and why it is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct JsonError {
    /// Offset of the first byte that cannot stand there, from 0; the length of
    /// the text when it ends too early.
    pub offset: usize,
    /// Why.
    pub reason: Reason,
}

/// Why a text is not the JSON that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The text stops inside a value or before one.
    #[error("the text ends before its value is complete")]
    End,
    /// The text starts with U+FEFF.
    #[error("a byte order mark is not allowed")]
    ByteOrderMark,
    /// Bytes that are not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// Something else where a value must start.
    #[error("expected a value")]
    Value,
    /// A misspelt `true`, `false` or `null`.
    #[error("expected true, false or null")]
    Literal,
    /// Something else where a member's name must start.
    #[error("expected a member name in double quotes")]
    Name,
    /// Something else after a member's name.
    #[error("expected a colon after a member name")]
    Colon,
    /// Something else after a member.
    #[error("expected a comma or the end of the object")]
    InObject,
    /// Something else after an element.
    #[error("expected a comma or the end of the array")]
    InArray,
    /// A number without digits where it needs one.
    #[error("expected a digit")]
    Digit,
    /// A raw U+0000 to U+001F within a string.
    #[error("a control character in a string must be escaped")]
    Control,
    /// A backslash and a character that it cannot escape.
    #[error("unknown escape in a string")]
    Escape,
    /// Less than four hexadecimal digits after `\u`.
    #[error("expected four hexadecimal digits after \\u")]
    Hex,
    /// Nested deeper than allowed.
    #[error("nested deeper than {0} levels")]
    Depth(usize),
    /// Something other than white space after the value.
    #[error("expected nothing more after the value")]
    Trailing,
    /// Half a surrogate pair in a string that must be Unicode text.
    #[error("a lone surrogate escape is not Unicode text")]
    LoneSurrogate,
}
