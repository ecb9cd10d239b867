//! Tags in their stored spelling, told apart without decoding them.

/// The elements of a canonical list of strings, quotes included.
///
/// The list is the text between the brackets; of other text, pieces.
pub fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (element, after) = rest.split_at(element_end(rest));
        rest = after.get(1..).unwrap_or_default();
        Some(element)
    })
}

/// After the closing quote of the string that `list` starts with.
fn element_end(list: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = list.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    list.len()
}
