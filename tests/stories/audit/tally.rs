//! What all rounds of an audit add up to.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use super::plan::Plan;
use crate::history::{Happened, History, Report};

/// How many findings are kept.
const KEPT: usize = 50;

#[derive(Debug, Default)]
pub struct Tally {
    acked: usize,
    failed: usize,
    faults: usize,
    duplicates: usize,
    allowed_duplicates: usize,
    commits: usize,
    /// How many breaks there are of each invariant.
    broken: BTreeMap<String, usize>,
    first: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, round: usize, faults: usize, report: &Report) {
        self.acked += report.acked;
        self.failed += report.failed;
        self.faults += faults;
        self.duplicates += report.duplicates;
        self.allowed_duplicates += report.allowed_duplicates;
        self.commits += report.commits;
        for finding in &report.broken {
            let invariant = finding.split(':').next().unwrap_or_default();
            *self.broken.entry(invariant.to_owned()).or_default() += 1;
            if self.first.len() < KEPT {
                println!("round {round}: {finding}");
                self.first.push(format!("round {round}: {finding}"));
            }
        }
    }

    fn breaks(&self, invariants: &[&str]) -> usize {
        let counts = invariants.iter().filter_map(|name| self.broken.get(*name));
        counts.sum()
    }

    /// The line of the table, and into the file for it if there is one.
    pub fn write(&self, plan: &Plan, what: &str) {
        let line = format!(
            "{what} | {} | {} | {} | {} | {} | {} | {}, seed {}",
            self.acked,
            self.faults,
            self.breaks(&["I1", "I2"]),
            self.duplicates,
            self.breaks(&["I3"]),
            self.breaks(&["I4"]),
            today(),
            plan.seed
        );
        println!("{line}");
        if let Some(path) = &plan.file {
            let file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path);
            writeln!(file.expect("open the file"), "{line}").expect("write a line");
        }
    }

    pub fn assert_right(&self) {
        assert!(
            self.broken.is_empty(),
            "{:?}, the first ones: {:#?}",
            self.broken,
            self.first
        );
        assert!(self.acked > 0 && self.commits > 0, "{self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acked,
            failed,
            faults,
            duplicates,
            allowed_duplicates,
            commits,
            broken,
            ..
        } = self;
        write!(
            f,
            "{acked} acknowledged, {failed} failed, {faults} faults, {duplicates} duplicates of {allowed_duplicates}, {commits} commits, \
             broken: {broken:?}"
        )
    }
}

/// Leaves what happened in a round in a file.
pub fn leave(path: &Path, report: &Report, history: &History) {
    let file = std::fs::File::create(path).expect("make a file");
    let mut file = BufWriter::new(file);
    let mut write = |line: fmt::Arguments<'_>| writeln!(file, "{line}").expect("write a line");
    for finding in &report.broken {
        write(format_args!("{finding}"));
    }
    let mut seen = history.seen.iter().peekable();
    for Happened { place, at, event } in &history.events {
        while let Some(entry) = seen.next_if(|entry| entry.number() <= *place) {
            write(format_args!("{} {entry:?}", entry.number()));
        }
        write(format_args!("{place} {at:?} {event:?}"));
    }
}

/// The date, in UTC.
fn today() -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output();
    let date = String::from_utf8(date.expect("run date").stdout);
    date.expect("a date").trim().to_owned()
}
