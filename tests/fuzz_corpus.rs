//! Replays the fuzzing corpus, so that an input that a decoder once fell over is tried on every run of the tests.
//!
//! `fuzz/` has the targets and finds new inputs; it needs a nightly compiler, this does not.

use std::ffi::OsString;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[expect(
    unreachable_pub,
    reason = "the fuzz targets are another crate, which this module is a part of too"
)]
#[path = "../fuzz/src/oracles/mod.rs"]
mod oracles;

const TARGETS: [(&str, fn(&[u8])); 8] = [
    ("binary_header", oracles::binary_header),
    ("decompress", oracles::decompress),
    ("frame", oracles::frame),
    ("java_json", oracles::java_json),
    ("json_header", oracles::json_header),
    ("round_trip", oracles::round_trip),
    ("stored_messages", oracles::stored_messages),
    ("text", oracles::text),
];

/// The only test here: what is in use is counted for the whole process, so nothing may run beside it.
#[test]
fn every_input_of_the_corpus_passes() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let corpus = fuzz.join("corpus");
    assert_eq!(names_in(&corpus), TARGETS.map(|(name, _)| name));
    let sources = TARGETS.map(|(name, _)| OsString::from(format!("{name}.rs")));
    assert_eq!(names_in(&fuzz.join("fuzz_targets")), sources);

    let mut failed = Vec::new();
    for (target, oracle) in TARGETS {
        let folder = corpus.join(target);
        let inputs = names_in(&folder);
        assert!(!inputs.is_empty(), "{target} has no inputs");
        for path in inputs.into_iter().map(|name| folder.join(name)) {
            let input = fs::read(&path).unwrap();
            if catch_unwind(|| oracle(&input)).is_err() {
                failed.push(path);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The names of what is in `folder`, in order.
fn names_in(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).expect("a folder of the corpus");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    names
}
