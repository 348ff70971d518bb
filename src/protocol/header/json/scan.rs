//! A scanner over one JSON object. It knows just enough of JSON to read a header: it allocates only to undo escapes, and
//! does not recurse.

use std::borrow::Cow;
use std::ops::Range;

use crate::protocol::error::DecodeError;

/// How deep a value that is skipped may nest.
const MAX_DEPTH: usize = 32;

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
            Some((raw, false)) => Ok(Some(Cow::Borrowed(raw))),
            Some((raw, true)) => self.unescape(raw).map(Some),
            None => Ok(None),
        }
    }

    /// A string with its escapes undone, or the literal text of a number or boolean; `None` for null.
    #[inline]
    pub(super) fn text(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        match self.peek() {
            Some(b'"') => match self.string()? {
                (raw, false) => Ok(Some(Cow::Borrowed(raw))),
                (raw, true) => self.unescape(raw).map(Some),
            },
            Some(b'{' | b'[') | None => Err(self.fail("a string should stand here")),
            Some(_) => match self.literal() {
                "" => Err(self.fail("a string should stand here")),
                "null" => Ok(None),
                literal => Ok(Some(Cow::Borrowed(literal))),
            },
        }
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Result<i32, DecodeError> {
        self.skip_space();
        let literal = match self.peek() {
            Some(b'"') => self.string()?.0,
            _ => self.literal(),
        };
        literal.parse().map_err(|_| DecodeError::InvalidField {
            name,
            expected: "a 32-bit integer",
        })
    }

    /// Where the inside of an object of scalars stands; `None` for null.
    pub(super) fn object_inside(&mut self) -> Result<Option<Range<usize>>, DecodeError> {
        if self.peek() != Some(b'{') {
            return match self.literal() {
                "null" => Ok(None),
                _ => Err(self.fail("an object should stand here")),
            };
        }
        let start = self.at + 1;
        self.skip_value()?;
        Ok(Some(start..self.at - 1))
    }

    pub(super) fn skip_value(&mut self) -> Result<(), DecodeError> {
        let mut depth = 0;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'{' | b'[') => {
                    self.at += 1;
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(self.fail("it nests too deep"));
                    }
                }
                Some(b'}' | b']' | b',' | b':') if depth > 0 => {
                    if matches!(self.peek(), Some(b'}' | b']')) {
                        depth -= 1;
                    }
                    self.at += 1;
                }
                Some(_) if !self.literal().is_empty() => {}
                _ => return Err(self.fail("a value should stand here")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Nothing but space may follow the object.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fail("text follows the object")),
        }
    }

    #[inline]
    fn next_member(&mut self) -> Result<Option<(&'a str, bool)>, DecodeError> {
        match self.peek() {
            None if self.inside => return Ok(None),
            Some(b'}') if !self.inside => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !self.first => {
                self.at += 1;
                self.skip_space();
            }
            Some(b'"') if self.first => {}
            _ => return Err(self.fail("a member should stand here")),
        }
        self.first = false;
        let name = self.string()?;
        self.expect(b':', "a colon should follow the name")?;
        self.skip_space();
        Ok(Some(name))
    }

    /// The inside of a string, and whether it has escapes.
    #[inline]
    fn string(&mut self) -> Result<(&'a str, bool), DecodeError> {
        self.expect(b'"', "a quote should stand here")?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    let inside = &self.text[start..self.at];
                    self.at += 1;
                    return Ok((inside, escaped));
                }
                b'\\' => {
                    escaped = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
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

    /// Undoes the escapes. Control characters may stand as they are: Java's readers are as lenient.
    #[cold]
    fn unescape(&self, raw: &'a str) -> Result<Cow<'a, str>, DecodeError> {
        // No escape is shorter than what it stands for.
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((plain, escape)) = rest.split_once('\\') {
            let (c, length) =
                read_escape(escape).ok_or_else(|| self.fail("a string has a bad escape"))?;
            text.push_str(plain);
            text.push(c);
            rest = &escape[length..];
        }
        text.push_str(rest);
        Ok(Cow::Owned(text))
    }

    #[inline]
    fn expect(&mut self, wanted: u8, reason: &'static str) -> Result<(), DecodeError> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.fail(reason))
    }

    /// The next byte that is not white space.
    #[inline]
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
