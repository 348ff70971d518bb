//! The fields of a JSON header: the text in which they came, and where in it each one stands.
//!
//! A header is scanned once, when its frame is decoded; the places of its fields are remembered, so that the typed header has nothing to
//! scan. There is room for as many as a broker answers with. Where a header has more, or others than these places can say, its fields
//! are scanned again.

use std::borrow::Cow;
use std::slice;

use crate::protocol::error::DecodeError;
use crate::protocol::header::json::scan::{Raw, Scanner, unescape};
use crate::protocol::message::Text;

/// How many fields are remembered. Brokers of 5.4.0 answer a send with up to seven and a pull with up to eight.
const MAX: usize = 8;

/// The fields of a received JSON header.
#[derive(Debug, Clone)]
pub struct JsonFields {
    /// The text between the braces of `extFields`, braces excluded.
    inside: Text,
    spans: Spans,
}

/// Where the fields stand in their text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spans {
    known: [Span; MAX],
    count: u8,
    /// There are escapes in names or values.
    escaped: bool,
    /// There are fields that are not among the known ones.
    incomplete: bool,
}

/// From where to where the name and the value stand.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    name: (u16, u16),
    value: (u16, u16),
}

impl JsonFields {
    pub(super) const fn new(inside: Text, spans: Spans) -> Self {
        Self { inside, spans }
    }

    /// The text that they came in.
    pub const fn text(&self) -> &Text {
        &self.inside
    }

    /// The same in a buffer of its own.
    pub(in crate::protocol) fn detach(&self) -> Self {
        Self {
            inside: self.inside.detach(),
            spans: self.spans,
        }
    }

    pub(in crate::protocol) fn iter(&self) -> FieldIter<'_> {
        let text = self.inside.as_str();
        FieldIter(if self.spans.incomplete {
            Walk::Scanned(Some(Scanner::inside_object(text)))
        } else {
            Walk::Known {
                text,
                spans: self.spans.known[..usize::from(self.spans.count)].iter(),
                escaped: self.spans.escaped,
            }
        })
    }
}

impl Spans {
    /// Remembers a field, in a text whose inside begins at `base`.
    #[inline]
    pub(super) fn push(&mut self, base: usize, name: Raw<'_>, value: Raw<'_>) {
        let place = |raw: Raw<'_>| {
            let start = u16::try_from(raw.start - base).ok()?;
            Some((
                start,
                start.checked_add(u16::try_from(raw.text.len()).ok()?)?,
            ))
        };
        match (
            self.known.get_mut(usize::from(self.count)),
            place(name),
            place(value),
        ) {
            (Some(span), Some(at), Some(to)) => {
                *span = Span {
                    name: at,
                    value: to,
                };
                self.escaped |= name.escaped || value.escaped;
                self.count += 1;
            }
            _ => self.give_up(),
        }
    }

    /// There is something that cannot be remembered.
    pub(super) const fn give_up(&mut self) {
        self.incomplete = true;
    }
}

/// Walks over the fields of a JSON header; ends after the first error. Fields that are null are passed over.
#[derive(Debug)]
pub struct FieldIter<'a>(Walk<'a>);

#[derive(Debug)]
enum Walk<'a> {
    Known {
        text: &'a str,
        spans: slice::Iter<'a, Span>,
        escaped: bool,
    },
    /// `None` after an error.
    Scanned(Option<Scanner<'a>>),
}

type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

impl<'a> Iterator for FieldIter<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Walk::Known {
                text,
                spans,
                escaped,
            } => {
                let item = known(text, *escaped, spans.next()?);
                if item.is_err() {
                    *spans = [].iter();
                }
                Some(item)
            }
            Walk::Scanned(scanner) => {
                let item = scan(scanner.as_mut()?).transpose();
                if matches!(item, Some(Err(_))) {
                    *scanner = None;
                }
                item
            }
        }
    }
}

#[inline]
fn known<'a>(text: &'a str, escaped: bool, span: &Span) -> Result<Field<'a>, DecodeError> {
    let slice = |(start, end): (u16, u16)| &text[usize::from(start)..usize::from(end)];
    let (name, value) = (slice(span.name), slice(span.value));
    if !escaped {
        return Ok((Cow::Borrowed(name), Cow::Borrowed(value)));
    }
    match (unescape(name), unescape(value)) {
        (Some(name), Some(value)) => Ok((name, value)),
        _ => Err(DecodeError::Invalid {
            what: "JSON header",
            offset: span.name.0.into(),
            reason: "a string has a bad escape",
        }),
    }
}

fn scan<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Field<'a>>, DecodeError> {
    while let Some(name) = scanner.next_name()? {
        if let Some(value) = scanner.text()? {
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}
