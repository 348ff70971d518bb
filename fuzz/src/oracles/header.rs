//! Headers in both forms: read within the limit, written back, and read the same again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::{BufMut, BytesMut};
use rocketmq_sdk::protocol::DecodeError;
use rocketmq_sdk::protocol::command::{Command, Head, Language, Serialization};
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::request::pull_message::{PullMessage, PullMessageResponse};
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};
use rocketmq_sdk::protocol::request::send_message_v1::SendMessageV1;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{SLACK, within};

/// A binary header.
pub fn binary_header(input: &[u8]) {
    if let Ok(command) = decode(Serialization::Binary, input) {
        read_all(&command);
    }
}

/// A JSON header. What a JSON library takes for a header that a peer may write, must be read, and read the same.
pub fn json_header(input: &[u8]) {
    let decoded = decode(Serialization::Json, input);
    if let Some(expected) = serde_json::from_slice(input)
        .ok()
        .filter(|_| serde_json::from_slice::<Once>(input).is_ok())
        .as_ref()
        .and_then(expected)
    {
        match &decoded {
            Ok(command) => assert_eq!(by_name(parts(command)), expected),
            // The limit on skipped values, which the library does not have.
            Err(DecodeError::Invalid {
                reason: "it nests too deep",
                ..
            }) => {}
            Err(error) => panic!("{error}, but this was expected: {expected:?}"),
        }
    }
    if let Ok(command) = decoded {
        read_all(&command);
    }
}

/// Refuses a member or a field that stands twice: no peer writes it, and of the two a JSON library looks at the last one only.
#[derive(Deserialize)]
#[expect(non_snake_case, dead_code, reason = "the names of the protocol")]
struct Once {
    code: Option<IgnoredAny>,
    language: Option<IgnoredAny>,
    version: Option<IgnoredAny>,
    opaque: Option<IgnoredAny>,
    flag: Option<IgnoredAny>,
    remark: Option<IgnoredAny>,
    extFields: Option<OnceEach>,
}

/// Fields of which no two have one name; or something else than fields.
struct OnceEach;

impl<'de> Deserialize<'de> for OnceEach {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = deserializer.deserialize_map(Names)?;
        let different: BTreeSet<&String> = names.iter().collect();
        match different.len() == names.len() {
            true => Ok(Self),
            false => Err(D::Error::custom("a name stands twice")),
        }
    }
}

/// The names of an object.
struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = map.next_entry()? {
            names.push(name);
        }
        Ok(names)
    }
}

/// Asserts that every typed header that can be read is the same after it was written and read again.
macro_rules! survives {
    ($command:ident, $($header:ty),*) => {$(
        if let Ok(header) = $command.header::<$header>() {
            let mut out = BytesMut::new();
            frame::encode_head(&mut out, $command.serialization(), &$command.head, None, &header, 0)
                .expect("it was short enough before");
            let again = frame::decode(&mut out).expect("what we write can be read").expect("it is whole");
            assert_eq!(again.header::<$header>().as_ref(), Ok(&header));
        }
    )*};
}

/// Everything that a header says.
#[derive(Debug, PartialEq)]
pub(super) struct Parts {
    serialization: Serialization,
    pub(super) head: Head,
    pub(super) remark: Option<String>,
    /// The fields up to the first that cannot be read, and whether there is such a one.
    pub(super) fields: Vec<(String, String)>,
    broken: bool,
}

pub(super) fn parts(command: &Command) -> Parts {
    let mut fields = Vec::new();
    let mut broken = false;
    for field in &command.fields {
        match field {
            Ok((name, value)) => fields.push((name.into_owned(), value.into_owned())),
            Err(_) => {
                assert!(!broken, "the walk ends with the first error");
                broken = true;
            }
        }
    }
    Parts {
        serialization: command.serialization(),
        head: command.head,
        remark: command.remark.as_deref().map(str::to_owned),
        fields,
        broken,
    }
}

impl Parts {
    /// Asserts that the header can be written and is the same when it is read again.
    pub(super) fn survive(&self, body: &[u8]) {
        if self.broken {
            return;
        }
        let mut out = BytesMut::new();
        frame::encode_with(
            &mut out,
            self.serialization,
            &self.head,
            self.remark.as_deref(),
            body.len(),
            |out| {
                for (name, value) in &self.fields {
                    out.put(name, value);
                }
            },
        )
        .expect("it was short enough before");
        out.put_slice(body);
        let again = frame::decode(&mut out)
            .expect("what we write can be read")
            .expect("it is whole");
        assert_eq!(parts(&again), *self);
        assert_eq!(again.body, body);
        assert!(out.is_empty());
    }
}

fn decode(serialization: Serialization, header: &[u8]) -> Result<Command, DecodeError> {
    let mark = match serialization {
        Serialization::Json => 0,
        Serialization::Binary => 1 << 24,
    };
    let mut stream = BytesMut::with_capacity(8 + header.len());
    stream.put_u32(header.len() as u32 + 4);
    stream.put_u32(header.len() as u32 | mark);
    stream.put_slice(header);
    let command =
        within(2 * header.len() + SLACK, || frame::decode(&mut stream))?.expect("it is whole");
    within(2 * header.len() + SLACK, || {
        command
            .fields
            .iter()
            .try_for_each(|field| field.map(drop))
            .ok();
        command.fields.find("no such field")
    });
    Ok(command)
}

/// Reads the fields in every way there is.
fn read_all(command: &Command) {
    let parts = parts(command);
    parts.survive(b"");
    if let Some((name, _)) = parts.fields.first() {
        let first = parts.fields.iter().find(|field| field.0 == *name);
        assert_eq!(
            command.fields.find(name).as_deref(),
            first.map(|field| &*field.1)
        );
    }
    survives!(
        command,
        SendMessage<'_>,
        SendMessageV1<'_>,
        SendMessageResponse<'_>
    );
    survives!(command, PullMessage<'_>, PullMessageResponse);
}

/// The header that `value` is, if a peer may write it so and nothing about it is a matter of taste. Fields are in order of their names.
fn expected(value: &Value) -> Option<Parts> {
    let object = value.as_object()?;
    let number = |name| match object.get(name) {
        None => Some(0),
        Some(number) => i32::try_from(number.as_i64()?).ok(),
    };
    let text = |name| match object.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    };
    object.get("code")?;
    let fields = match object.get("extFields") {
        None | Some(Value::Null) => Vec::new(),
        Some(fields) => fields
            .as_object()?
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect::<Option<_>>()?,
    };
    Some(Parts {
        serialization: Serialization::Json,
        head: Head {
            code: number("code")?,
            language: text("language")?.map_or(Language::OTHER, |name| Language::from_name(&name)),
            version: number("version")?,
            opaque: number("opaque")?,
            flag: number("flag")?,
        },
        remark: text("remark")?,
        fields,
        broken: false,
    })
}

/// The same, with the fields in order of their names.
fn by_name(mut parts: Parts) -> Parts {
    let fields: BTreeMap<_, _> = parts.fields.drain(..).collect();
    parts.fields.extend(fields);
    parts
}
