//! What must hold for every input of a fuzz target, and a limit on the memory that it may take.
//!
//! `cargo test` replays the corpus through the same functions: see `tests/fuzz_corpus.rs`.

use peak_alloc::PeakAlloc;

mod decompress;
mod frame;
mod header;
mod java_json;
mod round_trip;
mod stored_messages;
mod text;

pub use decompress::decompress;
pub use frame::frame;
pub use header::{binary_header, json_header};
pub use java_json::java_json;
pub use round_trip::round_trip;
pub use stored_messages::stored_messages;
pub use text::text;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What a decoder may allocate in any case: a shared buffer's count, an error's text, the corner of a table.
const SLACK: usize = 1024;

/// How many bytes are in use now.
fn in_use() -> usize {
    ALLOCATOR.current_usage()
}

/// Runs `decode`, and panics if more than `limit` bytes were in use at a time because of it.
///
/// A buffer that grows counts twice, in its old and its new place.
fn within<T>(limit: usize, decode: impl FnOnce() -> T) -> T {
    ALLOCATOR.reset_peak_usage();
    let before = in_use();
    let decoded = decode();
    let used = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(
        used <= limit,
        "{used} bytes were in use, at most {limit} may be"
    );
    decoded
}
