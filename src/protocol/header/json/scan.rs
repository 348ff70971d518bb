//! A scanner over one JSON object. It knows just enough of JSON to read a header: it allocates only to undo escapes, and
//! does not recurse.

use std::borrow::Cow;
use std::ops::Range;

use crate::protocol::error::DecodeError;
use crate::protocol::header::json::spans::Spans;

/// How deep a value that is skipped may nest.
const MAX_DEPTH: usize = 32;

/// The inside of a string, as it stands there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) text: &'a str,
    /// Where it begins.
    pub(super) start: usize,
    /// It has escapes.
    pub(super) escaped: bool,
}

#[derive(Debug)]
pub(in crate::protocol) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// No member of the object has been read yet.
    first: bool,
    /// The text is the inside of an object: it ends the object where it ends itself.
    inside: bool,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            first: true,
            inside: false,
        }
    }

    pub(super) const fn inside_object(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            first: true,
            inside: true,
        }
    }

    pub(super) fn open_object(&mut self) -> Result<(), DecodeError> {
        self.expect(b'{', "a brace should open the object")
    }

    /// The next member's name with its escapes undone, and steps over the colon; `None` at the object's end.
    #[inline]
    pub(super) fn next_name(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        match self.next_member()? {
            Some(raw) => self.undo(raw).map(Some),
            None => Ok(None),
        }
    }

    /// A string with its escapes undone, or the literal text of a number or boolean; `None` for null.
    #[inline]
    pub(super) fn text(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        match self.peek() {
            Some(b'"') => {
                let raw = self.string()?;
                self.undo(raw).map(Some)
            }
            Some(b'{' | b'[') | None => Err(self.fail("a string should stand here")),
            Some(_) => match self.literal() {
                "" => Err(self.fail("a string should stand here")),
                "null" => Ok(None),
                literal => Ok(Some(Cow::Borrowed(literal))),
            },
        }
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Result<i32, DecodeError> {
        let wrong = || DecodeError::InvalidField {
            name,
            expected: "a 32-bit integer",
        };
        if self.peek() == Some(b'"') {
            return self.string()?.text.parse().map_err(|_| wrong());
        }
        let bytes = self.text.as_bytes();
        let negative = bytes.get(self.at) == Some(&b'-');
        self.at += usize::from(negative);
        let start = self.at;
        let mut value = 0_i64;
        while let Some(digit @ b'0'..=b'9') = bytes.get(self.at) {
            value = value * 10 + i64::from(digit - b'0');
            self.at += 1;
            if value > i64::from(i32::MAX) + 1 {
                return Err(wrong());
            }
        }
        if self.at == start {
            return Err(wrong());
        }
        i32::try_from(if negative { -value } else { value }).map_err(|_| wrong())
    }

    /// Where the inside of an object of fields stands, and the fields in it; `None` for null.
    pub(super) fn fields(&mut self) -> Result<Option<(Range<usize>, Spans)>, DecodeError> {
        if self.peek() != Some(b'{') {
            return match self.literal() {
                "null" => Ok(None),
                _ => Err(self.fail("an object should stand here")),
            };
        }
        let start = self.at + 1;
        let mut spans = Spans::default();
        let mut inner = Self {
            at: start,
            ..Self::new(self.text)
        };
        while let Some(name) = inner.next_member()? {
            match inner.peek() {
                Some(b'"') => spans.push(start, name, inner.string()?),
                Some(b'{' | b'[') => {
                    inner.skip_value()?;
                    spans.give_up();
                }
                _ => {
                    let begins = inner.at;
                    match inner.literal() {
                        "" => return Err(inner.fail("a value should stand here")),
                        "null" => {}
                        text => spans.push(
                            start,
                            name,
                            Raw {
                                text,
                                start: begins,
                                escaped: false,
                            },
                        ),
                    }
                }
            }
        }
        self.at = inner.at;
        Ok(Some((start..self.at - 1, spans)))
    }

    pub(super) fn skip_value(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{' | b'[') => self.skip_nested(),
            Some(_) if !self.literal().is_empty() => Ok(()),
            _ => Err(self.fail("a value should stand here")),
        }
    }

    /// Steps over an object or an array. What stands in it is not looked at, but for where it ends.
    fn skip_nested(&mut self) -> Result<(), DecodeError> {
        let bytes = self.text.as_bytes();
        let mut depth = 0;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    self.close_string()?;
                    continue;
                }
                b'{' | b'[' if depth == MAX_DEPTH => return Err(self.fail("it nests too deep")),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
        Err(self.fail("it has no end"))
    }

    /// Nothing but space may follow the object.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fail("text follows the object")),
        }
    }

    #[inline(always)]
    fn next_member(&mut self) -> Result<Option<Raw<'a>>, DecodeError> {
        match self.peek() {
            None if self.inside => return Ok(None),
            Some(b'}') if !self.inside => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !self.first => self.at += 1,
            Some(b'"') if self.first => {}
            _ => return Err(self.fail("a member should stand here")),
        }
        self.first = false;
        let name = self.string()?;
        self.expect(b':', "a colon should follow the name")?;
        Ok(Some(name))
    }

    #[inline(always)]
    fn string(&mut self) -> Result<Raw<'a>, DecodeError> {
        self.expect(b'"', "a quote should stand here")?;
        let start = self.at;
        let escaped = self.close_string()?;
        Ok(Raw {
            text: &self.text[start..self.at - 1],
            start,
            escaped,
        })
    }

    /// Steps behind the quote that ends a string, and says whether there were escapes.
    #[inline(always)]
    fn close_string(&mut self) -> Result<bool, DecodeError> {
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        while let Some(length) = quote_or_backslash(bytes.get(self.at..).unwrap_or_default()) {
            self.at += length + 1;
            if bytes[self.at - 1] == b'"' {
                return Ok(escaped);
            }
            // Whatever the escape is, a quote behind its backslash does not end the string.
            escaped = true;
            self.at += 1;
        }
        self.at = bytes.len();
        Err(self.fail("a string has no end"))
    }

    /// The run of bytes up to the next delimiter.
    fn literal(&mut self) -> &'a str {
        self.skip_space();
        let start = self.at;
        let length = self.text.as_bytes()[start..]
            .iter()
            .position(|byte| {
                matches!(
                    byte,
                    b',' | b'}' | b']' | b':' | b'"' | b'{' | b'[' | b' ' | b'\t' | b'\r' | b'\n'
                )
            })
            .unwrap_or(self.text.len() - start);
        self.at += length;
        &self.text[start..self.at]
    }

    #[inline]
    fn undo(&self, raw: Raw<'a>) -> Result<Cow<'a, str>, DecodeError> {
        if raw.escaped {
            unescape(raw.text).ok_or_else(|| self.fail("a string has a bad escape"))
        } else {
            Ok(Cow::Borrowed(raw.text))
        }
    }

    #[inline(always)]
    fn expect(&mut self, wanted: u8, reason: &'static str) -> Result<(), DecodeError> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.fail(reason))
    }

    /// The next byte that is not white space.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        match self.text.as_bytes().get(self.at) {
            Some(b' ' | b'\t' | b'\r' | b'\n') => {
                self.skip_space();
                self.text.as_bytes().get(self.at).copied()
            }
            next => next.copied(),
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    #[cold]
    fn fail(&self, reason: &'static str) -> DecodeError {
        DecodeError::Invalid {
            what: "JSON header",
            offset: self.at,
            reason,
        }
    }
}

/// Where the next byte stands that a string cannot be read past: eight bytes at a time, since the strings of a header are too short
/// for what `memchr` has to do first, and most of an answer to a send is strings.
#[inline]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    /// The high bit of the first byte that is `wanted`, and of none before it.
    const fn marks(eight: u64, wanted: u8) -> u64 {
        let zero_where_equal = eight ^ (ONES * wanted as u64);
        zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & HIGHS
    }
    let (eights, rest) = bytes.as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        let found = marks(eight, b'"') | marks(eight, b'\\');
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(eights.len() * 8 + at)
}

/// Undoes the escapes of a string, if they are good ones. Control characters may stand as they are: Java's readers are as lenient.
#[cold]
pub(super) fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    // No escape is shorter than what it stands for.
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        let (c, length) = read_escape(escape)?;
        text.push_str(plain);
        text.push(c);
        rest = &escape[length..];
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// The character that an escape stands for, and the escape's length, both without the backslash.
fn read_escape(escape: &str) -> Option<(char, usize)> {
    let c = match escape.as_bytes().first()? {
        b'u' => return read_unicode_escape(escape),
        c @ (b'"' | b'\\' | b'/') => char::from(*c),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    };
    Some((c, 1))
}

/// `uXXXX`, or a pair `uXXXX\uXXXX` where one UTF-16 unit is not enough.
fn read_unicode_escape(escape: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = escape.as_bytes().get(at..at + 4)?;
        digits.iter().try_fold(0, |unit, digit| {
            Some(unit << 4 | char::from(*digit).to_digit(16)?)
        })
    };
    let first = unit(1)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, 5));
    }
    if escape.as_bytes().get(5..7) != Some(b"\\u") {
        return None;
    }
    let pair = [first, unit(7)?].map(|unit| unit as u16);
    let c = char::decode_utf16(pair).next()?.ok()?;
    Some((c, 11))
}
