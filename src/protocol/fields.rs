//! Header fields: typed headers to text pairs and back, without a map between.
//!
//! A typed header writes its fields straight into the frame, and is read by one walk over the received bytes. The `header!`
//! macro derives both directions from one list of names, so that what the client encodes is what the testkit decodes.

use std::borrow::Cow;

use bytes::BytesMut;

use crate::protocol::command::Serialization;
use crate::protocol::error::DecodeError;
use crate::protocol::header::{binary, json};

/// A typed header.
pub trait Header<'a>: Sized {
    /// Writes every field that has a value.
    fn encode(&self, out: &mut FieldWriter<'_>);

    /// Reads the header from received fields; unknown ones are ignored.
    ///
    /// # Errors
    /// A required field is missing, or a field's text does not parse.
    fn decode(fields: &'a Fields) -> Result<Self, DecodeError>;
}

/// The fields of a received header, still in the form in which they came.
#[derive(Debug, Clone)]
pub enum Fields {
    /// Those of a JSON header.
    Json(json::JsonFields),
    /// The bytes behind the length of the binary header's fields.
    Binary(bytes::Bytes),
}

impl Fields {
    /// No fields.
    pub const fn none() -> Self {
        Self::Binary(bytes::Bytes::new())
    }

    /// The serialisation they came in.
    pub const fn serialization(&self) -> Serialization {
        match self {
            Self::Json(_) => Serialization::Json,
            Self::Binary(_) => Serialization::Binary,
        }
    }

    /// The bytes that they came in.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(fields) => fields.text().as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The same fields in a buffer of their own, so that keeping them keeps nothing else in memory.
    #[must_use]
    pub fn detach(&self) -> Self {
        match self {
            Self::Json(fields) => Self::Json(fields.detach()),
            Self::Binary(bytes) => Self::Binary(bytes::Bytes::copy_from_slice(bytes)),
        }
    }

    /// Name and value of every field, in the order in which they came.
    pub fn iter(&self) -> FieldIter<'_> {
        match self {
            Self::Json(fields) => FieldIter::Json(fields.iter()),
            Self::Binary(bytes) => FieldIter::Binary(binary::FieldIter::new(bytes)),
        }
    }

    /// The value of the first field with this name, if there is one that can be read.
    pub fn find(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter()
            .map_while(Result::ok)
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = Result<(Cow<'a, str>, Cow<'a, str>), DecodeError>;
    type IntoIter = FieldIter<'a>;

    fn into_iter(self) -> FieldIter<'a> {
        self.iter()
    }
}

/// Walks over received fields; ends after the first error.
#[derive(Debug)]
#[expect(missing_docs, reason = "the two serialisations")]
pub enum FieldIter<'a> {
    Json(json::FieldIter<'a>),
    Binary(binary::FieldIter<'a>),
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = Result<(Cow<'a, str>, Cow<'a, str>), DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Json(fields) => fields.next(),
            Self::Binary(fields) => fields.next(),
        }
    }
}

/// Writes header fields into a frame.
#[derive(Debug)]
pub struct FieldWriter<'b> {
    pub(in crate::protocol) out: &'b mut BytesMut,
    pub(in crate::protocol) serialization: Serialization,
    pub(in crate::protocol) first: bool,
}

impl FieldWriter<'_> {
    /// Writes one field.
    #[inline]
    pub fn put(&mut self, name: &str, value: &str) {
        match self.serialization {
            Serialization::Json => json::put_field(self.out, &mut self.first, name, value),
            Serialization::Binary => binary::put_field(self.out, name, value),
        }
    }

    /// Writes one field with a decimal value.
    #[inline]
    pub fn put_number(&mut self, name: &str, value: i64) {
        self.put(name, itoa::Buffer::new().format(value));
    }
}

/// A type that can stand in a typed header.
pub trait Field<'a>: Sized {
    /// Writes the field, if there is a value.
    fn write(&self, name: &'static str, out: &mut FieldWriter<'_>);

    /// Reads the field; `None` when the header does not have it.
    ///
    /// # Errors
    /// It is required and missing, or does not parse.
    fn read(name: &'static str, value: Option<Cow<'a, str>>) -> Result<Self, DecodeError>;
}

impl<'a> Field<'a> for Cow<'a, str> {
    #[inline]
    fn write(&self, name: &'static str, out: &mut FieldWriter<'_>) {
        out.put(name, self);
    }

    #[inline]
    fn read(name: &'static str, value: Option<Self>) -> Result<Self, DecodeError> {
        value.ok_or(DecodeError::MissingField { name })
    }
}

macro_rules! number_fields {
    ($($type:ty: $expected:literal,)*) => {$(
        impl<'a> Field<'a> for $type {
            #[inline]
            fn write(&self, name: &'static str, out: &mut FieldWriter<'_>) {
                out.put_number(name, i64::from(*self));
            }

            #[inline]
            fn read(name: &'static str, value: Option<Cow<'a, str>>) -> Result<Self, DecodeError> {
                let value = value.ok_or(DecodeError::MissingField { name })?;
                value.parse().map_err(|_| DecodeError::InvalidField { name, expected: $expected })
            }
        }
    )*};
}

number_fields! {
    i32: "a 32-bit integer",
    i64: "a 64-bit integer",
}

impl<'a> Field<'a> for bool {
    #[inline]
    fn write(&self, name: &'static str, out: &mut FieldWriter<'_>) {
        out.put(name, if *self { "true" } else { "false" });
    }

    #[inline]
    fn read(name: &'static str, value: Option<Cow<'a, str>>) -> Result<Self, DecodeError> {
        // As Java's Boolean.parseBoolean: everything but "true" is false.
        let value = value.ok_or(DecodeError::MissingField { name })?;
        Ok(value.eq_ignore_ascii_case("true"))
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    #[inline]
    fn write(&self, name: &'static str, out: &mut FieldWriter<'_>) {
        if let Some(value) = self {
            value.write(name, out);
        }
    }

    #[inline]
    fn read(name: &'static str, value: Option<Cow<'a, str>>) -> Result<Self, DecodeError> {
        // Java writes a null string of the binary form with length zero.
        match value {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            some => T::read(name, some).map(Some),
        }
    }
}

/// Declares a typed header: a struct whose every field has its name on the wire, with both directions.
///
/// `Option` fields may be absent, all others must be there. A unit struct is a header without fields.
macro_rules! header {
    ($(#[$meta:meta])* $vis:vis struct $name:ident;) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        $vis struct $name;

        impl<'a> $crate::protocol::fields::Header<'a> for $name {
            fn encode(&self, _: &mut $crate::protocol::fields::FieldWriter<'_>) {}

            fn decode(
                _: &'a $crate::protocol::fields::Fields,
            ) -> Result<Self, $crate::protocol::error::DecodeError> {
                Ok(Self)
            }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$life:lifetime>)? {
            $($(#[$doc:meta])* $field:ident: $type:ty = $wire:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        $vis struct $name $(<$life>)? {
            $($(#[$doc])* pub $field: $type,)*
        }

        $crate::protocol::fields::header!(@impl $name [$($life)?] $($field = $wire,)*);
    };
    (@impl $name:ident [] $($field:ident = $wire:literal,)*) => {
        impl<'a> $crate::protocol::fields::Header<'a> for $name {
            $crate::protocol::fields::header!(@body $($field = $wire,)*);
        }
    };
    (@impl $name:ident [$life:lifetime] $($field:ident = $wire:literal,)*) => {
        impl<'a> $crate::protocol::fields::Header<'a> for $name<'a> {
            $crate::protocol::fields::header!(@body $($field = $wire,)*);
        }
    };
    (@body $($field:ident = $wire:literal,)*) => {
        fn encode(&self, out: &mut $crate::protocol::fields::FieldWriter<'_>) {
            $($crate::protocol::fields::Field::write(&self.$field, $wire, out);)*
        }

        fn decode(
            fields: &'a $crate::protocol::fields::Fields,
        ) -> Result<Self, $crate::protocol::error::DecodeError> {
            $(let mut $field = None;)*
            for field in fields {
                let (name, value) = field?;
                match &*name {
                    $($wire => $field = Some(value),)*
                    _ => {}
                }
            }
            Ok(Self { $($field: $crate::protocol::fields::Field::read($wire, $field)?,)* })
        }
    };
}
pub(in crate::protocol) use header;

header! {
    /// A header without fields.
    pub struct NoFields;
}
