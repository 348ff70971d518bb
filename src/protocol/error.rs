//! Why bytes could not be understood.

/// Bytes that are not what the protocol says: what was being read, where, and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ended inside a value.
    #[error("{what} at offset {offset}: needs {needed} bytes, {had} are there")]
    Truncated {
        /// The value being read.
        what: &'static str,
        /// Where it starts, in bytes from the start of the input.
        offset: usize,
        /// How many bytes it needs.
        needed: usize,
        /// How many bytes were left.
        had: usize,
    },
    /// A length, count or size outside its limits.
    #[error("{what} at offset {offset}: {value} is outside {min}..={max}")]
    OutOfRange {
        /// The value being read.
        what: &'static str,
        /// Where it starts, in bytes from the start of the input.
        offset: usize,
        /// What was found.
        value: i64,
        /// The smallest allowed value.
        min: i64,
        /// The largest allowed value.
        max: i64,
    },
    /// A value of the wrong form.
    #[error("{what} at offset {offset}: {reason}")]
    Invalid {
        /// The value being read.
        what: &'static str,
        /// Where it starts, in bytes from the start of the input.
        offset: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A header field that the request or response must have.
    #[error("header field {name} is missing")]
    MissingField {
        /// The field's name on the wire.
        name: &'static str,
    },
    /// A header field whose text does not parse.
    #[error("header field {name} is not {expected}")]
    InvalidField {
        /// The field's name on the wire.
        name: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
    /// A body that is not the JSON that was expected.
    #[error("{what}: {reason}")]
    Json {
        /// The body being read.
        what: &'static str,
        /// The JSON reader's reason.
        reason: String,
    },
    /// A body compressed with a codec that this build does not have.
    #[error("body is compressed with {codec}; enable the crate's feature `{feature}`")]
    MissingCodec {
        /// The codec's name.
        codec: &'static str,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// A body that inflates past its limit.
    #[error("{codec} body inflates past the limit of {limit} bytes")]
    InflatesPastLimit {
        /// The codec's name.
        codec: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
}
