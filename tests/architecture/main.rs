//! The rules of shape in CONTRIBUTING, held against the source: which room imports which, what the wire formats may not
//! know, what the testkit may use, how long files and functions may be.
//!
//! Looks at tokens, not at types: comments, strings and what only tests see do not count, and what is reached through a macro
//! is not followed.

mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::{fs, io};

use source::Source;

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 60;

/// The rooms that `room` may import beside itself; none if there is no such room.
fn imports_of(room: &str) -> Option<&'static [&'static str]> {
    Some(match room {
        "protocol" => &[],
        "error" | "config" | "environment" | "message" | "transport" => {
            &["protocol", "error", "config", "environment", "message"]
        }
        "observe" => &["protocol", "error", "config", "message"],
        "route" => &[
            "protocol",
            "error",
            "config",
            "environment",
            "message",
            "transport",
        ],
        "client" => &[
            "protocol",
            "error",
            "config",
            "environment",
            "message",
            "observe",
            "transport",
            "route",
        ],
        "producer" | "consumer" | "admin" => &[
            "protocol",
            "error",
            "config",
            "environment",
            "message",
            "observe",
            "transport",
            "route",
            "client",
        ],
        _ => return None,
    })
}

#[test]
fn a_room_imports_only_from_rooms_above_it() {
    assert_kept(room_violations(&sources("src").unwrap()));
}

#[test]
fn the_wire_formats_know_no_runtime_clock_randomness_or_log() {
    let sources = sources("src").unwrap();
    assert!(
        sources.iter().any(|s| s.room() == "protocol"),
        "found no wire formats in src/"
    );
    assert_kept(sources.iter().flat_map(protocol_violations).collect());
}

#[test]
fn the_testkit_uses_only_the_wire_formats_and_the_environment() {
    assert_kept(
        sources("testkit/src")
            .unwrap()
            .iter()
            .flat_map(testkit_violations)
            .collect(),
    );
}

#[test]
fn files_and_functions_are_short_and_safe() {
    let all = [sources("src").unwrap(), sources("testkit/src").unwrap()].concat();
    assert_kept(all.iter().flat_map(size_violations).collect());
}

fn assert_kept(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Every source file under `root` that is not a test, in the order of their paths.
fn sources(root: &str) -> io::Result<Vec<Source>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let below = path
                .strip_prefix(&top)
                .unwrap_or(&path)
                .to_string_lossy()
                .replace('\\', "/");
            if path.ends_with("tests") || path.ends_with("tests.rs") {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else if below.ends_with(".rs") {
                found.push(Source::new(root, &below, &fs::read_to_string(&path)?));
            }
        }
    }
    assert!(!found.is_empty(), "found no source in {root}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Imports against the direction, and files outside the rooms. `lib.rs` is free.
fn room_violations(sources: &[Source]) -> Vec<String> {
    let lib = sources.iter().find(|s| s.is_root());
    let exports: HashMap<&str, &str> = lib.map(Source::exports).unwrap_or_default();
    let mut violations = Vec::new();
    for source in sources.iter().filter(|s| !s.is_root()) {
        let room = source.room();
        let Some(allowed) = imports_of(room) else {
            violations.push(format!("{}: {room} is not one of the rooms", source.path));
            continue;
        };
        for import in source.own_imports() {
            // What lib.rs exports by a shorter name is imported from where it stands.
            let target = import
                .path
                .first()
                .map_or("*", |first| exports.get(first).unwrap_or(first));
            if target != room && !allowed.contains(&target) {
                let (path, line) = (&source.path, import.line);
                let full = import.path.join("::");
                violations.push(format!(
                    "{path}:{line}: {room} may not import crate::{full}"
                ));
            }
        }
    }
    violations
}

fn protocol_violations(source: &Source) -> Vec<String> {
    if source.room() != "protocol" {
        return Vec::new();
    }
    let foreign = ["tokio", "tokio_util", "rand", "tracing", "Instant"];
    mentions(source, &foreign)
        .chain(clock_readings(source))
        .collect()
}

fn clock_readings(source: &Source) -> impl Iterator<Item = String> {
    source
        .tokens
        .windows(3)
        .filter(|w| w[0].is("SystemTime") && w[2].is("now"))
        .map(|w| {
            format!(
                "{}:{}: the wire formats may not read the clock",
                source.path, w[0].line
            )
        })
}

fn testkit_violations(source: &Source) -> Vec<String> {
    let program = source.path.contains("/bin/");
    let allowed: &[&str] = if program {
        &["protocol", "environment", "admin"]
    } else {
        &["protocol", "environment"]
    };
    let imports = source.imports_of_crate("rocketmq_sdk").into_iter();
    let wrong = imports.filter(|i| !i.path.first().is_some_and(|first| allowed.contains(first)));
    wrong
        .map(|i| {
            let full = i.path.join("::");
            format!(
                "{}:{}: the testkit may not use rocketmq_sdk::{full}",
                source.path, i.line
            )
        })
        .collect()
}

fn size_violations(source: &Source) -> Vec<String> {
    let lines = source.lines_of_code();
    let mut violations: Vec<_> = mentions(source, &["unsafe"]).collect();
    if lines > MAX_FILE_LINES {
        violations.push(format!("{}: {lines} lines of code", source.path));
    }
    for function in source
        .functions()
        .into_iter()
        .filter(|f| f.lines > MAX_FUNCTION_LINES)
    {
        let (path, line) = (&source.path, function.line);
        violations.push(format!(
            "{path}:{line}: fn {} has {} lines",
            function.name, function.lines
        ));
    }
    violations
}

fn mentions(source: &Source, words: &[&str]) -> impl Iterator<Item = String> {
    let found = source
        .tokens
        .iter()
        .filter(|t| words.contains(&t.text.as_str()));
    found.map(|t| format!("{}:{}: may not mention {}", source.path, t.line, t.text))
}
