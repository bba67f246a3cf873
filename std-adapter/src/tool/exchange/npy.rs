//! The header of an array in an npz file. It is a Python dictionary as text:
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.

use crate::tool::numbers::join;
use training_monitor::checkpoint::ElementType;

/// The first bytes of an array.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The maximum length of a header in bytes. A header of this length has no meaning for tensors of at most six dimensions.
const MAX_HEADER: usize = 1 << 16;

/// The start of an array of NumPy.
pub struct NpyHeader {
    /// The type of the elements, as NumPy writes it, for example `<f4`. A type that is not a string, such as a list of
    /// fields, is the text of the Python expression.
    pub descriptor: String,
    pub is_column_major: bool,
    pub shape: Vec<u64>,
    /// The number of bytes before the elements.
    pub len: usize,
}

/// Returns the type of NumPy for an element type.
const fn descriptor(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::F32 => "<f4",
        ElementType::F64 => "<f8",
        ElementType::F16 => "<f2",
        ElementType::Bf16 => "|V2",
        ElementType::I8 => "|i1",
        ElementType::U8 => "|u1",
        ElementType::I16 => "<i2",
        ElementType::U16 => "<u2",
        ElementType::I32 => "<i4",
        ElementType::U32 => "<u4",
        ElementType::I64 => "<i8",
        ElementType::U64 => "<u8",
        ElementType::Bool => "|b1",
    }
}

/// Returns the start of an array in row-major order. The elements follow it directly.
pub fn header(element_type: ElementType, shape: &[u32]) -> Vec<u8> {
    // Python writes a comma after the number in a tuple of one number.
    let comma = if shape.len() == 1 { "," } else { "" };
    let (descriptor, sides) = (descriptor(element_type), join(shape, ", "));
    let mut text = format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': ({sides}{comma}), }}");
    let prefix = MAGIC.len() + 4;
    let padding = (prefix + text.len() + 1).next_multiple_of(64) - (prefix + text.len() + 1);
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let len = (text.len() as u16).to_le_bytes();
    [MAGIC, &[1, 0], &len, text.as_bytes()].concat()
}

impl NpyHeader {
    /// Reads the header of an array. The error is the reason.
    pub fn read(reader: &mut impl std::io::Read) -> Result<NpyHeader, String> {
        let mut start = [0; 8];
        let failed = |cause: std::io::Error| cause.to_string();
        reader.read_exact(&mut start).map_err(failed)?;
        if !start.starts_with(MAGIC) {
            return Err("it is not an array of NumPy".to_owned());
        }
        let [.., version, _] = start;
        let (len, len_bytes) = match version {
            1 => {
                let mut len = [0; 2];
                reader.read_exact(&mut len).map_err(failed)?;
                (usize::from(u16::from_le_bytes(len)), 2)
            }
            2 | 3 => {
                let mut len = [0; 4];
                reader.read_exact(&mut len).map_err(failed)?;
                (u32::from_le_bytes(len) as usize, 4)
            }
            _ => return Err(format!("the array has the format version {version}; versions 1 to 3 are supported")),
        };
        if len > MAX_HEADER {
            return Err(format!("the header has {len} bytes; at most {MAX_HEADER} are supported"));
        }
        let mut text = vec![0; len];
        reader.read_exact(&mut text).map_err(failed)?;
        let text = String::from_utf8_lossy(&text);
        let invalid = || format!("the header {:?} is not valid", shortened(text.trim()));
        let (descriptor, is_column_major, shape) = parse(&text).ok_or_else(invalid)?;
        Ok(NpyHeader { descriptor, is_column_major, shape, len: start.len() + len_bytes + len })
    }

    /// Returns the element type, and whether the elements are in big-endian byte order. Returns `None` if a checkpoint
    /// does not have the type.
    pub fn element_type(&self) -> Option<(ElementType, bool)> {
        let is_big_endian = self.descriptor.starts_with('>');
        let name = self.descriptor.trim_start_matches(['<', '>', '|', '=']);
        let element_type = ElementType::ALL.into_iter().find(|known| descriptor(*known).get(1..) == Some(name))?;
        // NumPy never swaps the bytes of the type V.
        Some((element_type, is_big_endian && element_type != ElementType::Bf16))
    }
}

/// Returns the first characters of a text.
pub fn shortened(text: &str) -> String {
    let start: String = text.chars().take(64).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}

/// A Python expression. The parser does not nest, so its time is proportional to the length of the text.
enum Expression {
    Text(String),
    Bool(bool),
    Tuple(Vec<u64>),
    /// Any other expression, as text.
    Other(String),
}

/// Parses a header.
fn parse(text: &str) -> Option<(String, bool, Vec<u64>)> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let (mut descriptor, mut is_column_major, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (Expression::Text(key), after) = expression(rest)? else { return None };
        let (value, after) = expression(after.trim_start().strip_prefix(':')?.trim_start())?;
        match (key.as_str(), value) {
            ("descr", Expression::Text(text) | Expression::Other(text)) => descriptor = Some(text),
            ("fortran_order", Expression::Bool(value)) => is_column_major = Some(value),
            ("shape", Expression::Tuple(sides)) => shape = Some(sides),
            _ => return None,
        }
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some((descriptor?, is_column_major?, shape?))
}

/// Parses the expression at the start of a text. Returns it and the rest of the text.
fn expression(text: &str) -> Option<(Expression, &str)> {
    if let Some(quote) = text.chars().next().filter(|first| matches!(first, '\'' | '"')) {
        let (inside, rest) = text.get(1..)?.split_once(quote)?;
        return (!inside.contains('\\')).then(|| (Expression::Text(inside.to_owned()), rest));
    }
    for (name, value) in [("True", true), ("False", false)] {
        if let Some(rest) = text.strip_prefix(name) {
            return Some((Expression::Bool(value), rest));
        }
    }
    // Everything up to the bracket that closes the first one.
    let mut depth = 0_usize;
    let end = text.char_indices().find_map(|(index, character)| {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => (),
        }
        (depth == 0).then(|| index + character.len_utf8())
    })?;
    let (inside, rest) = text.split_at(end);
    let sides = inside.strip_prefix('(').and_then(|inside| inside.strip_suffix(')')).and_then(|inside| {
        let numbers = inside.split(',').map(str::trim).filter(|number| !number.is_empty());
        numbers.map(|number| number.trim_end_matches('L').parse().ok()).collect::<Option<Vec<u64>>>()
    });
    Some((sides.map_or_else(|| Expression::Other(inside.to_owned()), Expression::Tuple), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_again() {
        for element_type in ElementType::ALL {
            for shape in [&[][..], &[3], &[0, 4], &[1, 2, 3, 4, 5, u32::MAX]] {
                let bytes = header(element_type, shape);
                assert_eq!(bytes.len() % 64, 0);
                let found = NpyHeader::read(&mut &bytes[..]).unwrap();
                assert_eq!((found.len, found.element_type()), (bytes.len(), Some((element_type, false))));
                assert!(found.shape.iter().copied().eq(shape.iter().map(|side| u64::from(*side))));
                assert!(!found.is_column_major);
            }
        }
    }

    #[test]
    fn headers_of_other_programs_are_read() {
        let read = |text: &str| parse(text);
        let expected = Some((">f8".to_owned(), true, vec![2, 3]));
        assert_eq!(read("{\"shape\":(2L, 3L),\"fortran_order\":True,'descr':'>f8'}\n"), expected);
        let (descriptor, ..) =
            read("{'descr': [('a', '<f4'), ('b', '<i2', (2,))], 'fortran_order': False, 'shape': ()}").unwrap();
        assert_eq!(descriptor, "[('a', '<f4'), ('b', '<i2', (2,))]");
        for invalid in ["", "{}", "{'descr': '<f4'}", "{'shape': (2,) 'descr': ''}", "{'shape': (-1,)}", "{'x': 1}"] {
            assert!(read(invalid).is_none(), "{invalid}");
        }
    }

    /// The time of the parser does not depend on the depth of brackets.
    #[test]
    fn nested_brackets_are_refused_at_once() {
        let brackets = "[".repeat(60_000);
        for text in [format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({brackets},)}}"), brackets] {
            assert!(parse(&text).is_none());
        }
    }
}
