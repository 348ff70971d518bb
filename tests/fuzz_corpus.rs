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
fn every_input_passes() {
    replay_corpus();
    replay_golden_frames();
}

fn replay_corpus() {
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
            let input = fs::read(&path).expect("an input");
            if catch_unwind(|| oracle(&input)).is_err() {
                failed.push(path);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// What Apache's own programs wrote, as frames and in its parts.
fn replay_golden_frames() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut count = 0;
    for name in names_in(&folder) {
        if Path::new(&name)
            .extension()
            .is_none_or(|kind| kind != "txt")
        {
            continue;
        }
        let text = fs::read_to_string(folder.join(&name)).expect("a golden file");
        for line in text.lines() {
            let frame = frame_of(line);
            let length = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]) as usize;
            let (header, body) = frame[8..].split_at(length);
            let passes = catch_unwind(|| {
                oracles::frame(&frame);
                match frame[4] {
                    0 => oracles::json_header(header),
                    _ => oracles::binary_header(header),
                }
                oracles::stored_messages(body);
                oracles::java_json(body);
            });
            assert!(passes.is_ok(), "{name:?}: {line:.60}");
            count += 1;
        }
    }
    assert!(count > 0);
}

/// The bytes at the end of a golden file's line.
fn frame_of(line: &str) -> Vec<u8> {
    let hex = line.rsplit(' ').next().expect("a part of the line");
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal digits"))
        .collect()
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
