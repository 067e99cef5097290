//! The members of a frame as raw JSON, so that the text of a frame is walked only once.

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, MapAccess, Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;

use crate::payload::AS_IT_STANDS;

/// How many members are kept. No frame of the protocol has as many.
const MOST: usize = 16;

/// The members of an object, each value as raw JSON.
pub(super) struct Members<'a> {
    kept: [Option<(&'a str, &'a RawValue)>; MOST],
    count: usize,
    /// Some members were not kept: there were too many, or a name has escapes.
    is_cut: bool,
}

impl<'a> Members<'a> {
    pub(super) const fn new() -> Self {
        Self { kept: [None; MOST], count: 0, is_cut: false }
    }

    /// Keeps a member. `name` is `None` if it has escapes.
    pub(super) fn keep(&mut self, name: Option<&'a str>, value: &'a RawValue) {
        match (name, self.kept.get_mut(self.count)) {
            (Some(name), Some(free)) => {
                *free = Some((name, value));
                self.count += 1;
            }
            _ => self.is_cut = true,
        }
    }

    /// Reads the members as a type. None if that fails or if not all were kept: then the whole text is parsed, which
    /// also tells the place of an error.
    pub(super) fn read<T: Deserialize<'a>>(&self) -> Option<T> {
        let entries = self.kept.get(..self.count).filter(|_| !self.is_cut)?;
        T::deserialize(Entries { entries: entries.iter(), value: None }).ok()
    }
}

/// Reads one value. The text of a payload or of a string without escapes is not walked again.
pub(super) fn read_value<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    T::deserialize(Value(value)).ok()
}

struct Entries<'i, 'a> {
    entries: std::slice::Iter<'i, Option<(&'a str, &'a RawValue)>>,
    value: Option<&'a RawValue>,
}

impl<'de> Deserializer<'de> for Entries<'_, 'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let Some((name, value)) = self.entries.next().copied().flatten() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value is read before its name"))?;
        seed.deserialize(Value(value))
    }
}

struct Value<'a>(&'a RawValue);

impl<'a> Value<'a> {
    /// The text of a string without escapes.
    fn plain_text(&self) -> Option<&'a str> {
        let text = self.0.get().strip_prefix('"')?.strip_suffix('"')?;
        (!text.as_bytes().contains(&b'\\')).then_some(text)
    }

    fn parser(&self) -> serde_json::Deserializer<serde_json::de::StrRead<'a>> {
        serde_json::Deserializer::from_str(self.0.get())
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.plain_text() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self.parser().deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.0.get() == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if name == AS_IT_STANDS {
            visitor.visit_borrowed_str(self.0.get())
        } else {
            self.parser().deserialize_newtype_struct(name, visitor)
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}
