//! Replays the fuzzing corpus, so that an input that a decoder once fell over is tried on every run of the tests.
//!
//! `fuzz/` has the targets and finds new inputs; it needs a nightly compiler, this does not.

use std::collections::BTreeSet;
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

/// One test and not one for each target: what is in use is counted for the process, so they must not run side by side.
#[test]
fn every_input_of_the_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut failed = Vec::new();
    for (target, oracle) in TARGETS {
        let inputs: Vec<_> = fs::read_dir(corpus.join(target)).unwrap().collect();
        assert!(!inputs.is_empty(), "{target} has no inputs");
        for input in inputs {
            let path = input.unwrap().path();
            let input = fs::read(&path).unwrap();
            if catch_unwind(|| oracle(&input)).is_err() {
                failed.push(path);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_target_is_replayed() {
    let names = |folder: &str| -> BTreeSet<_> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned())
            .collect()
    };
    let replayed = TARGETS.iter().map(|(target, _)| (*target).into()).collect();
    assert_eq!(names("fuzz/fuzz_targets"), replayed);
    assert_eq!(names("fuzz/corpus"), replayed);
}
