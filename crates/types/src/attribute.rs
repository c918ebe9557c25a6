//! What an agent says about itself: `rack:r1;zone:z;slots:4`.

use std::{fmt, sync::Arc};

use crate::resource::{Ranges, Scalar, parse_ranges, without_spaces};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeValue {
    /// A number.
    Scalar(Scalar),
    /// Numbers.
    Ranges(Ranges),
    /// Anything else.
    Text(Arc<str>),
}

/// One statement about an agent. Names may repeat; their order is kept, for constraints look at the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    /// Its name.
    pub name: Arc<str>,
    /// Its value.
    pub value: AttributeValue,
}

/// Why a text names no attributes. Each error holds the piece that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeTextError {
    /// A piece that is not `name:value`.
    #[error("{piece:?} is not of the form name:value")]
    Syntax {
        /// The piece between two semicolons.
        piece: String,
    },
    /// Not `[begin-end, …]` with `begin <= end`.
    #[error("{piece:?} holds no valid ranges")]
    Ranges {
        /// The piece between two semicolons.
        piece: String,
    },
    /// Attributes cannot be sets.
    #[error("{piece:?} is a set; attributes are numbers, ranges or texts")]
    Set {
        /// The piece between two semicolons.
        piece: String,
    },
}

/// Reads attributes in Mesos' flag text. Spaces do not matter; line breaks separate like semicolons.
pub fn parse_attributes(text: &str) -> Result<Vec<Attribute>, AttributeTextError> {
    let pieces = text.split([';', '\n']).map(without_spaces);
    pieces.filter(|piece| !piece.is_empty()).map(|piece| parse_attribute(&piece)).collect()
}

fn parse_attribute(piece: &str) -> Result<Attribute, AttributeTextError> {
    let owned = || piece.to_owned();
    let (name, value) = piece
        .split_once(':')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| AttributeTextError::Syntax { piece: owned() })?;
    let value = match value.as_bytes()[0] {
        b'{' => return Err(AttributeTextError::Set { piece: owned() }),
        b'[' => parse_ranges(value)
            .map(AttributeValue::Ranges)
            .ok_or_else(|| AttributeTextError::Ranges { piece: owned() })?,
        _ => match value.parse() {
            Ok(number) => AttributeValue::Scalar(number),
            Err(_) => AttributeValue::Text(value.into()),
        },
    };
    Ok(Attribute { name: name.into(), value })
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(number) => number.fmt(f),
            Self::Ranges(ranges) => ranges.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbers_ranges_or_texts_in_the_order_given() {
        let attributes =
            parse_attributes("rack:r1; slots : 4.5;ports:[1-2, 4-4]\nrack:r2;url:a:b;").expect("good");
        let texts: Vec<String> = attributes.iter().map(Attribute::to_string).collect();
        assert_eq!(texts, ["rack:r1", "slots:4.5", "ports:[1-2, 4-4]", "rack:r2", "url:a:b"]);
        assert_eq!(attributes[1].value, AttributeValue::Scalar(Scalar(4500)));
        assert_eq!(attributes[4].value, AttributeValue::Text("a:b".into()));
    }

    #[test]
    fn errors_name_the_piece() {
        let table = [
            ("a:1;b", "\"b\" is not of the form name:value"),
            (":x", "\":x\" is not of the form name:value"),
            ("x:", "\"x:\" is not of the form name:value"),
            ("s:{a,b}", "\"s:{a,b}\" is a set; attributes are numbers, ranges or texts"),
            ("p:[2-1]", "\"p:[2-1]\" holds no valid ranges"),
        ];
        for (text, expect) in table {
            assert_eq!(parse_attributes(text).expect_err(text).to_string(), expect);
        }
    }
}
