//! Sending.
mod retry;
mod select;
mod validate;
