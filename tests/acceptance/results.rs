//! What a run of the tests printed.

use std::collections::BTreeMap;

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Result {
    Passed,
    Failed,
    /// The target cannot do it, and why.
    Skipped(String),
}

/// Reads the output of `cargo test -- --show-output`: by the test's name without its modules. Of a test that ran twice the last counts.
pub(crate) fn read(log: &str) -> BTreeMap<String, Result> {
    let mut results = BTreeMap::new();
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    let mut printing = None;
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix("test ")
            && let Some((path, outcome)) = rest.split_once(" ... ")
        {
            let result = match outcome.split(' ').next() {
                Some("ok") => Result::Passed,
                Some("FAILED") => Result::Failed,
                _ => continue,
            };
            reasons.remove(&last(path));
            results.insert(last(path), result);
        } else if let Some(rest) = line.strip_prefix("---- ")
            && let Some((path, _)) = rest.split_once(" stdout")
        {
            printing = Some(last(path));
        } else if let (Some(name), Some(reason)) = (&printing, line.strip_prefix("skipped: ")) {
            reasons.insert(name.clone(), reason.trim().to_owned());
        }
    }
    for (name, reason) in reasons {
        if let Some(result @ Result::Passed) = results.get_mut(&name) {
            *result = Result::Skipped(reason);
        }
    }
    results
}

fn last(path: &str) -> String {
    let path = path.trim_end_matches(" - should panic");
    path.rsplit("::").next().unwrap_or(path).to_owned()
}
