//! The table, from cases and results.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::audits::{Audit, section};
use crate::cases::{Case, ids_in};
use crate::results::Result;

pub(crate) struct Target {
    pub(crate) name: &'static str,
    title: &'static str,
    is_testkit: bool,
}

pub(crate) const TARGETS: [Target; 3] = [
    Target {
        name: "testkit",
        title: "testkit",
        is_testkit: true,
    },
    Target {
        name: "5.4.0",
        title: "Apache 5.4.0",
        is_testkit: false,
    },
    Target {
        name: "4.9.7",
        title: "Apache 4.9.7",
        is_testkit: false,
    },
];

type Column = BTreeMap<String, Result>;

/// The whole text of `tests/ACCEPTANCE.md`.
pub(crate) fn make(cases: &[Case], columns: &[Column], audits: &[Audit]) -> String {
    let mut text = String::from(
        "# Acceptance\n\n\
         Made by `cargo test --test acceptance -- --write FOLDER` from the test runs of `.ci/run`; see CONTRIBUTING. A number is how many \
         tests of that id passed there, `-` that the case asks for what only the testkit can do; an empty cell is a case without a test.\n",
    );
    for case in cases {
        if let Some(heading) = &case.heading {
            let titles: Vec<_> = TARGETS.iter().map(|target| target.title).collect();
            let _ = write!(
                text,
                "\n## {heading}\n\n| id | case | {} | |\n|---|---|{}---|\n",
                titles.join(" | "),
                "---|".repeat(TARGETS.len())
            );
        }
        text.push_str(&row(case, columns));
    }
    text.push_str(&section(audits));
    text
}

fn row(case: &Case, columns: &[Column]) -> String {
    let mut notes: Vec<String> = case.note.iter().cloned().collect();
    let mut row = format!("| {} | {} |", case.id, case.text);
    for (target, column) in TARGETS.iter().zip(columns) {
        let of_case = || {
            column
                .iter()
                .filter(|(name, _)| ids_in(name).contains(&case.id))
        };
        let count =
            |wanted: fn(&Result) -> bool| of_case().filter(|(_, result)| wanted(result)).count();
        let (passed, failed) = (
            count(|result| *result == Result::Passed),
            count(|result| *result == Result::Failed),
        );
        let reasons = of_case().filter_map(|(_, result)| match result {
            Result::Skipped(reason) => Some(reason.as_str()),
            _ => None,
        });
        for reason in reasons {
            let note = format!("{}: {reason}", target.title);
            if !case.testkit_only && !notes.contains(&note) {
                notes.push(note);
            }
        }
        let cell = match (passed, failed) {
            (_, 1..) => format!("{failed} FAILED"),
            (0, 0) if case.testkit_only && !target.is_testkit => "-".to_owned(),
            (0, 0) if of_case().next().is_some() => "skipped".to_owned(),
            (0, 0) => String::new(),
            (passed, 0) => passed.to_string(),
        };
        let _ = write!(row, " {cell} |");
    }
    let _ = writeln!(row, " {} |", notes.join(" "));
    row
}
