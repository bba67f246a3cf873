//! The object that the checks save: numbers in a value whose length can differ from save to save. A value of any length
//! belongs to the same series, while tensors of different shapes belong to different ones.

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use training_monitor::checkpoint::{ObjectVisitor, Objects};

/// A list of numbers. Its encoding is the count and then the numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct Payload(pub Vec<f32>);

/// More numbers than any payload has.
const MAX: usize = 1 << 20;

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(1 + self.0.len())?;
        tuple.serialize_element(&(self.0.len() as u32))?;
        for number in &self.0 {
            tuple.serialize_element(number)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Payload;
            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a count and numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Payload, A::Error> {
                let count: u32 = all.next_element()?.ok_or_else(|| A::Error::custom("no count"))?;
                let mut numbers = Vec::new();
                for _ in 0..count {
                    numbers.push(all.next_element()?.ok_or_else(|| A::Error::custom("too few numbers"))?);
                }
                Ok(Payload(numbers))
            }
        }
        deserializer.deserialize_tuple(MAX, Numbers)
    }
}

impl Objects for Payload {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.value("m", self)
    }
}
