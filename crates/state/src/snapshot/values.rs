//! Small values as bytes: numbers as varints, texts and lists after their length, options after a flag.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use imbl::{OrdMap, OrdSet, Vector};

/// The bytes do not say what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What remains to be read of a record.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    /// A length, at most the bytes that remain: each element has at least one.
    fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(u64::take(self)?).map_err(|_| Malformed)?;
        if count <= self.0.len() { Ok(count) } else { Err(Malformed) }
    }
}

/// A value with one byte form.
pub(super) trait Stored: Sized {
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads it.
    fn take(input: &mut Input<'_>) -> Result<Self, Malformed>;
}

impl Stored for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        let mut rest = *self;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = input.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

macro_rules! stored_as_u64 {
    ($($number:ty),+) => {
        $(impl Stored for $number {
            fn put(&self, out: &mut Vec<u8>) {
                u64::from(*self).put(out);
            }

            fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
                u64::take(input)?.try_into().map_err(|_| Malformed)
            }
        })+
    };
}
stored_as_u64!(u8, u16, u32);

impl Stored for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

/// Zigzag: small magnitudes are short.
impl Stored for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        ((self << 1) ^ (self >> 63)).cast_unsigned().put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let bits = u64::take(input)?;
        Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
    }
}

impl Stored for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        i64::from(*self).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        i64::take(input)?.try_into().map_err(|_| Malformed)
    }
}

impl Stored for [u8; 16] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.bytes(16)?.try_into().map_err(|_| Malformed)
    }
}

impl Stored for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let count = input.count()?;
        input.bytes(count).map(Bytes::copy_from_slice)
    }
}

impl Stored for Arc<str> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let count = input.count()?;
        std::str::from_utf8(input.bytes(count)?).map(Arc::from).map_err(|_| Malformed)
    }
}

impl<T: Stored> Stored for Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        T::take(input).map(Arc::new)
    }
}

impl<T: Stored> Stored for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        self.iter().for_each(|value| value.put(out));
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        bool::take(input)?.then(|| T::take(input)).transpose()
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

impl<A: Stored, B: Stored, C: Stored> Stored for (A, B, C) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok((A::take(input)?, B::take(input)?, C::take(input)?))
    }
}

impl<A: Stored, B: Stored, C: Stored, D: Stored> Stored for (A, B, C, D) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
        self.3.put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok((A::take(input)?, B::take(input)?, C::take(input)?, D::take(input)?))
    }
}

fn take_list<T: Stored, L: FromIterator<T>>(input: &mut Input<'_>) -> Result<L, Malformed> {
    let count = input.count()?;
    (0..count).map(|_| T::take(input)).collect()
}

macro_rules! stored_list {
    ([$($bounds:tt)*] $list:ty, $item:ty) => {
        impl<$($bounds)*> Stored for $list {
            fn put(&self, out: &mut Vec<u8>) {
                (self.len() as u64).put(out);
                self.iter().for_each(|item| item.put(out));
            }

            fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
                take_list::<$item, Self>(input)
            }
        }
    };
}
stored_list!([T: Stored] Vec<T>, T);
stored_list!([T: Stored] Arc<[T]>, T);
stored_list!([T: Stored + Ord] BTreeSet<T>, T);
stored_list!([T: Stored + Ord + Clone] OrdSet<T>, T);
stored_list!([T: Stored + Clone] Vector<T>, T);

macro_rules! stored_map {
    ($map:ident, $($bound:tt)+) => {
        impl<K: Stored + $($bound)+, V: Stored + Clone> Stored for $map<K, V> {
            fn put(&self, out: &mut Vec<u8>) {
                (self.len() as u64).put(out);
                for (key, value) in self {
                    key.put(out);
                    value.put(out);
                }
            }

            fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
                take_list::<(K, V), Self>(input)
            }
        }
    };
}
stored_map!(BTreeMap, Ord);
stored_map!(OrdMap, Ord + Clone);
