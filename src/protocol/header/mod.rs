//! The two forms of a header: JSON text, and RocketMQ's binary form.

pub mod binary;
pub mod json;
