//! One request or response, as it stands between the frame and its meaning.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::error::DecodeError;
use crate::protocol::fields::{Fields, Header};
use crate::protocol::message::Text;

/// The protocol version that this crate speaks: the ordinal of Apache RocketMQ 5.4.0 in `MQVersion`.
///
/// Brokers read it: from 401 on (4.9.4) name servers answer routes in standard JSON.
pub const VERSION: i32 = 493;

/// How a header is written: the high byte of a frame's second word.
///
/// Its names in a configuration are Java's: `JSON` and `ROCKETMQ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Serialization {
    /// JSON text.
    #[serde(rename = "JSON")]
    Json,
    /// RocketMQ's binary form. Its code field has 16 bits.
    #[default]
    #[serde(rename = "ROCKETMQ")]
    Binary,
}

impl Serialization {
    /// This serialisation where it can carry `code`, else JSON: the binary form truncates codes over 16 bits.
    pub const fn fit(self, code: i32) -> Self {
        if code > i16::MAX as i32 || code < i16::MIN as i32 {
            Self::Json
        } else {
            self
        }
    }
}

/// The language that a peer says it is written in: `LanguageCode` in Apache RocketMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(pub u8);

const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP",
    "OMS", "RUST", "NODE_JS",
];

impl Language {
    /// Java.
    pub const JAVA: Self = Self(0);
    /// A language without a number of its own.
    pub const OTHER: Self = Self(7);
    /// Rust.
    pub const RUST: Self = Self(12);

    /// The name that stands in JSON headers; `OTHER` for a number that is not known.
    pub fn name(self) -> &'static str {
        LANGUAGES
            .get(usize::from(self.0))
            .copied()
            .unwrap_or("OTHER")
    }

    /// The language of this name; [`OTHER`](Self::OTHER) for a name that is not known.
    pub fn from_name(name: &str) -> Self {
        LANGUAGES
            .iter()
            .position(|known| *known == name)
            .and_then(|at| u8::try_from(at).ok())
            .map_or(Self::OTHER, Self)
    }
}

/// The numbers at the head of every request and response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// A [`RequestCode`] or a [`ResponseCode`].
    pub code: i32,
    /// The sender's language.
    pub language: Language,
    /// The sender's protocol version.
    pub version: i32,
    /// Matches a response to its request, within one connection.
    pub opaque: i32,
    /// Bit 0: a response. Bit 1: a request that wants no response.
    pub flag: i32,
}

impl Head {
    const RESPONSE: i32 = 1;
    const ONEWAY: i32 = 2;

    /// The head of a request.
    pub const fn request(code: RequestCode, opaque: i32) -> Self {
        Self {
            code: code.0,
            language: Language::RUST,
            version: VERSION,
            opaque,
            flag: 0,
        }
    }

    /// The head of a response to the request with this `opaque`.
    pub const fn response(code: ResponseCode, opaque: i32) -> Self {
        Self {
            code: code.0,
            language: Language::RUST,
            version: VERSION,
            opaque,
            flag: Self::RESPONSE,
        }
    }

    /// The same request, wanting no response.
    #[must_use]
    pub const fn oneway(mut self) -> Self {
        self.flag |= Self::ONEWAY;
        self
    }

    /// Whether this is a response.
    pub const fn is_response(&self) -> bool {
        self.flag & Self::RESPONSE != 0
    }

    /// Whether this is a request that wants no response.
    pub const fn is_oneway(&self) -> bool {
        self.flag & Self::ONEWAY != 0
    }
}

/// A received request or response. Its fields stay as they came until a typed header asks for them.
#[derive(Debug, Clone)]
pub struct Command {
    /// Code, language, version, opaque and flag.
    pub head: Head,
    /// Free text: the reason, where a response is an error.
    pub remark: Option<Text>,
    /// The header fields.
    pub fields: Fields,
    /// What follows the header.
    pub body: Bytes,
}

impl Command {
    /// The code as a request's.
    pub const fn request_code(&self) -> RequestCode {
        RequestCode(self.head.code)
    }

    /// The code as a response's.
    pub const fn response_code(&self) -> ResponseCode {
        ResponseCode(self.head.code)
    }

    /// The typed header, read from the fields.
    ///
    /// # Errors
    /// A required field is missing, or a field's text does not parse.
    pub fn header<'a, H: Header<'a>>(&'a self) -> Result<H, DecodeError> {
        H::decode(&self.fields)
    }

    /// The serialisation that the sender chose.
    pub const fn serialization(&self) -> Serialization {
        self.fields.serialization()
    }
}
