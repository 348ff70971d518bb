//! The JSON that Java peers write and expect.
//!
//! Java's side uses a library that writes map keys as what they are: `{0:"a"}` for an integer key, `{{"queueId":0}:12}` for an object
//! as a key. Standard JSON has only strings there. Knows: both forms, and how to get from one to the other. Does not know: any body
//! (their types use this).
//!
//! Reading: [`from_slice`] takes both forms. Integer keys need nothing more, since serde reads `{"0":..}` into a map with integer
//! keys; maps with object keys are marked with `#[serde(with = "java_json::object_keys")]`. Writing: [`to_vec`].

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use crate::protocol::DecodeError;

pub mod object_keys;

/// How deep arrays and objects may nest; serde_json has the same limit.
const MAX_DEPTH: usize = 127;

/// How many values a body may have. What a short one is read into takes many times its text, so this is what bounds the memory; the
/// longest frame of Java's own bodies does not come near it.
const MAX_VALUES: usize = 1 << 20;

/// Reads a body in either form; `what` names it in errors.
///
/// # Errors
///
/// [`DecodeError::Invalid`] where [`to_standard`] refuses it, and [`DecodeError::Json`] if it is no JSON or no `T`.
pub fn from_slice<T: DeserializeOwned>(what: &'static str, input: &[u8]) -> Result<T, DecodeError> {
    let standard = to_standard(input)?;
    serde_json::from_slice(&standard).map_err(|error| DecodeError::Json {
        what,
        reason: Beginning::of(&error),
    })
}

/// The beginning of an error's text, which may quote a whole text of the body.
struct Beginning(String);

impl Beginning {
    const MAX: usize = 200;

    fn of(error: &serde_json::Error) -> String {
        let mut beginning = Self(String::new());
        // It ends early where the text is longer.
        let _ = write!(beginning, "{error}");
        beginning.0
    }
}

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = Self::MAX - self.0.len();
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end));
        self.0.push_str(&text[..end.unwrap_or(0)]);
        Err(fmt::Error)
    }
}

/// Writes `value` as Java reads it: integer keys bare, and keys from [`object_keys`] as objects.
///
/// A string key that begins with `{` is taken for an object, too; nothing that RocketMQ allows as a name begins so.
///
/// # Errors
///
/// [`DecodeError::Json`] if `value` has what JSON cannot express, such as a sequence as a key.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, JavaKeys::default());
    match value.serialize(&mut serializer) {
        Ok(()) => Ok(out),
        Err(error) => Err(DecodeError::Json {
            what: "JSON body",
            reason: error.to_string(),
        }),
    }
}

/// Rewrites keys that are integers or objects as strings; an object becomes the string of its own JSON text, without the white
/// space in it. What is standard already is borrowed.
///
/// This looks only at what it needs to find the keys, so its result is no more JSON than `input` was. It is at most twice as long.
///
/// # Errors
///
/// [`DecodeError::Invalid`] if the nesting of brackets, keys and values is wrong or deeper than 127, if there are more than 1,048,576
/// values, or if an object key has an object key inside (which no peer writes, and whose quoting would double at every level).
pub fn to_standard(input: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    let mut rewriter = Rewriter {
        input,
        position: 0,
        copied: 0,
        out: Vec::new(),
        in_key: false,
        values: 0,
    };
    rewriter.value(0)?;
    rewriter.skip_white_space();
    if rewriter.position < input.len() {
        return Err(rewriter.invalid("is followed by other text"));
    }
    if rewriter.out.is_empty() {
        return Ok(Cow::Borrowed(input));
    }
    rewriter.copy_up_to_here();
    Ok(Cow::Owned(rewriter.out))
}

/// Walks over a body and copies it from the first key on that must be rewritten.
struct Rewriter<'a> {
    input: &'a [u8],
    position: usize,
    /// How much of the input is in `out`.
    copied: usize,
    out: Vec<u8>,
    /// Whether the walk is inside an object that is a key.
    in_key: bool,
    /// How many values the walk has come to.
    values: usize,
}

impl Rewriter<'_> {
    fn value(&mut self, depth: usize) -> Result<(), DecodeError> {
        self.skip_white_space();
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.invalid("has too many values"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string(),
            _ => self.scalar(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), DecodeError> {
        self.enter(depth)?;
        if self.accept(b'}') {
            return Ok(());
        }
        loop {
            self.key(depth + 1)?;
            if !self.accept(b':') {
                return Err(self.invalid("has a key without a value"));
            }
            self.value(depth + 1)?;
            if self.accept(b'}') {
                return Ok(());
            }
            if !self.accept(b',') {
                return Err(self.invalid("has an object that does not go on or end"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), DecodeError> {
        self.enter(depth)?;
        if self.accept(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.accept(b']') {
                return Ok(());
            }
            if !self.accept(b',') {
                return Err(self.invalid("has an array that does not go on or end"));
            }
        }
    }

    fn key(&mut self, depth: usize) -> Result<(), DecodeError> {
        self.skip_white_space();
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => {
                self.quote();
                self.scalar()?;
                self.quote();
                Ok(())
            }
            Some(b'{') if !self.in_key => self.object_key(depth),
            Some(b'{') => Err(self.invalid("has an object key inside an object key")),
            _ => Err(self.invalid("has a key that is no string, integer or object")),
        }
    }

    fn object_key(&mut self, depth: usize) -> Result<(), DecodeError> {
        self.quote();
        self.in_key = true;
        self.object(depth)?;
        self.copy_up_to_here();
        self.in_key = false;
        self.quote();
        Ok(())
    }

    fn string(&mut self) -> Result<(), DecodeError> {
        self.position += 1;
        while let Some(byte) = self.peek() {
            self.position += 1;
            match byte {
                b'"' => return Ok(()),
                // Whatever is escaped does not end the string.
                b'\\' => self.position += 1,
                _ => {}
            }
        }
        self.position = self.input.len();
        Err(self.invalid("ends inside a string"))
    }

    /// A number, `true`, `false` or `null`, or a run of letters that is none of them: that is for the JSON reader to say.
    fn scalar(&mut self) -> Result<(), DecodeError> {
        let start = self.position;
        while let Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') = self.peek() {
            self.position += 1;
        }
        if self.position == start {
            return Err(self.invalid("has no value where one must be"));
        }
        Ok(())
    }

    /// Steps over an opening bracket.
    fn enter(&mut self, depth: usize) -> Result<(), DecodeError> {
        if depth == MAX_DEPTH {
            return Err(self.invalid("is nested too deep"));
        }
        self.position += 1;
        Ok(())
    }

    /// Steps over white space, and over `byte` if it comes next.
    fn accept(&mut self, byte: u8) -> bool {
        self.skip_white_space();
        let there = self.peek() == Some(byte);
        self.position += usize::from(there);
        there
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.position += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.position).copied()
    }

    /// Puts a quote here: around a key, or as a part of the object that is a key.
    fn quote(&mut self) {
        self.copy_up_to_here();
        self.out
            .extend_from_slice(if self.in_key { b"\\\"" } else { b"\"" });
    }

    /// Copies what has been walked over, never a part of a string.
    fn copy_up_to_here(&mut self) {
        if self.out.capacity() == 0 {
            // All that it can become, so that it never moves: that would take as much again.
            self.out.reserve_exact(2 * self.input.len());
        }
        let walked = &self.input[self.copied..self.position];
        self.copied = self.position;
        if !self.in_key {
            self.out.extend_from_slice(walked);
            return;
        }
        let mut in_string = false;
        let mut escaped = false;
        for byte in walked {
            if !in_string && byte.is_ascii_whitespace() {
                continue;
            }
            if *byte == b'"' && !escaped {
                in_string = !in_string;
            }
            escaped = *byte == b'\\' && !escaped;
            if matches!(byte, b'"' | b'\\') {
                self.out.push(b'\\');
            }
            self.out.push(*byte);
        }
    }

    #[cold]
    fn invalid(&self, reason: &'static str) -> DecodeError {
        DecodeError::Invalid {
            what: "JSON body",
            offset: self.position,
            reason,
        }
    }
}

/// Writes compact JSON with the keys that Java expects.
///
/// The serializer announces a key's opening quote before it says what the key is, so the quote waits for that.
#[derive(Default)]
struct JavaKeys {
    key: Key,
}

#[derive(Default, PartialEq, Clone, Copy)]
enum Key {
    /// No key is being written.
    #[default]
    None,
    /// A key has begun.
    Begun,
    /// A string: quoted and escaped.
    String,
    /// An integer or an object: as it is.
    Bare,
}

impl JavaKeys {
    /// Decides what the key is, if that is open.
    fn decide<W: io::Write + ?Sized>(&mut self, writer: &mut W, key: Key) -> io::Result<()> {
        if self.key != Key::Begun {
            return Ok(());
        }
        self.key = key;
        if key == Key::String {
            writer.write_all(b"\"")
        } else {
            Ok(())
        }
    }
}

macro_rules! bare_integers {
    ($($method:ident: $integer:ty),+) => {$(
        fn $method<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: $integer) -> io::Result<()> {
            self.decide(writer, Key::Bare)?;
            CompactFormatter.$method(writer, value)
        }
    )+};
}

impl Formatter for JavaKeys {
    bare_integers!(write_i8: i8, write_i16: i16, write_i32: i32, write_i64: i64);
    bare_integers!(write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64);

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.key = Key::Begun;
        CompactFormatter.begin_object_key(writer, first)
    }

    fn end_object_key<W: io::Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.key = Key::None;
        Ok(())
    }

    fn begin_string<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.key == Key::None {
            writer.write_all(b"\"")
        } else {
            Ok(())
        }
    }

    fn end_string<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        // A key without any text is a string.
        self.decide(writer, Key::String)?;
        if self.key == Key::Bare {
            Ok(())
        } else {
            writer.write_all(b"\"")
        }
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let key = if fragment.starts_with('{') {
            Key::Bare
        } else {
            Key::String
        };
        self.decide(writer, key)?;
        writer.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.decide(writer, Key::String)?;
        match (self.key, &escape) {
            (Key::Bare, CharEscape::Quote) => writer.write_all(b"\""),
            (Key::Bare, CharEscape::ReverseSolidus) => writer.write_all(b"\\"),
            _ => CompactFormatter.write_char_escape(writer, escape),
        }
    }
}

#[cfg(test)]
mod tests;
