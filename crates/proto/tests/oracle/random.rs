//! Any message of a descriptor, drawn from bytes: few bytes make a small message, so that failures shrink.

use prost::bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// Deeper than this only required fields are set.
const DEPTH_MAX: usize = 8;

/// A source of choices that, once used up, only says zero.
pub(crate) struct Entropy<'a>(pub(crate) &'a [u8]);

impl Entropy<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }
}

/// `complete`: every required field is set. Otherwise some of them are left out.
pub(crate) fn message(
    descriptor: &MessageDescriptor,
    entropy: &mut Entropy<'_>,
    complete: bool,
) -> DynamicMessage {
    nested(descriptor, entropy, complete, 0)
}

fn nested(
    descriptor: &MessageDescriptor,
    entropy: &mut Entropy<'_>,
    complete: bool,
    depth: usize,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let required = field.cardinality() == prost_reflect::Cardinality::Required;
        let wanted = if required {
            complete || entropy.below(40) != 1
        } else {
            depth < DEPTH_MAX && entropy.below(3) == 1
        };
        if wanted {
            let value = field_value(&field, entropy, complete, depth + 1);
            message.set_field(&field, value);
        }
    }
    message
}

fn field_value(field: &FieldDescriptor, entropy: &mut Entropy<'_>, complete: bool, depth: usize) -> Value {
    let count = 1 + entropy.below(2);
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let value_field = entry.map_entry_value_field();
        let entries = (0..count)
            .map(|_| (MapKey::String(text(entropy)), scalar(&value_field.kind(), entropy, complete, depth)));
        return Value::Map(entries.collect());
    }
    if field.is_list() {
        return Value::List((0..count).map(|_| scalar(&field.kind(), entropy, complete, depth)).collect());
    }
    scalar(&field.kind(), entropy, complete, depth)
}

fn scalar(kind: &Kind, entropy: &mut Entropy<'_>, complete: bool, depth: usize) -> Value {
    match kind {
        Kind::Bool => Value::Bool(entropy.below(2) == 1),
        Kind::Int32 => Value::I32(entropy.word() as i32),
        Kind::Int64 => Value::I64(entropy.word() as i64),
        Kind::Uint32 => Value::U32(entropy.word() as u32),
        Kind::Uint64 => Value::U64(entropy.word()),
        Kind::Double => Value::F64(double(entropy)),
        Kind::String => Value::String(text(entropy)),
        Kind::Bytes => Value::Bytes((0..entropy.below(20)).map(|_| entropy.byte()).collect::<Bytes>()),
        Kind::Enum(it) => {
            Value::EnumNumber(it.values().nth(entropy.below(it.values().len())).expect("in range").number())
        }
        Kind::Message(it) => Value::Message(nested(it, entropy, complete, depth)),
        other => unreachable!("{other:?} occurs in no message"),
    }
}

fn double(entropy: &mut Entropy<'_>) -> f64 {
    match entropy.below(6) {
        0 => 0.0,
        1 => 15.0,
        2 => 0.1 * f64::from(entropy.byte()),
        3 => 1_795_410_287.0 + f64::from(entropy.byte()) / 1e6,
        4 => f64::INFINITY,
        _ => Some(f64::from_bits(entropy.word())).filter(|value| value.is_finite()).unwrap_or(-1e300),
    }
}

fn text(entropy: &mut Entropy<'_>) -> String {
    const PIECES: [&str; 8] = ["", "a", "cpus", "\"\\/\n\t\u{1}", "Größe", "🚀\u{2028}", "slave", "*"];
    let count = entropy.below(4);
    (0..count).map(|_| PIECES[entropy.below(PIECES.len())]).collect()
}
