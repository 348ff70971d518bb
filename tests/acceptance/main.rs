//! The table of acceptance cases: which test stands for which case, and what came of it on each target.
//!
//! `cargo test --test acceptance` checks that every test that carries an id names a case that exists, and that `tests/ACCEPTANCE.md` has a
//! row for each case. `cargo test --test acceptance -- --write FOLDER` makes the table from the output of test runs in that folder: one
//! file for each target, `testkit.log`, `5.4.0.log`, `4.9.7.log`, as `.ci/run` leaves them; `--compare FOLDER` fails where the table is
//! another one. What `tests/acceptance/audits.txt` says of loss audits, which are run by hand, is its last section.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod audits;
mod cases;
mod results;
mod table;

use cases::Case;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        Some(args.get(at + 1).map_or("", String::as_str))
    };
    let done = match (after("--write"), after("--compare")) {
        (Some(folder), _) => write(Path::new(folder)),
        (_, Some(folder)) => compare(Path::new(folder)),
        (None, None) => check(),
    };
    match done {
        Ok(said) => {
            println!("acceptance: {said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("acceptance: {error}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn table_file() -> PathBuf {
    root().join("tests/ACCEPTANCE.md")
}

fn all_cases() -> Outcome<Vec<Case>> {
    let file = root().join("tests/acceptance/cases.txt");
    cases::read(&fs::read_to_string(file)?)
}

/// Whether the ids in the names of tests, the cases and the table fit together.
fn check() -> Outcome<String> {
    let cases = all_cases()?;
    let mut named = 0;
    let mut sources = Vec::new();
    for folder in ["src", "tests", "testkit"] {
        list_sources(&root().join(folder), &mut sources)?;
    }
    for source in &sources {
        for id in cases::ids_of_tests(&fs::read_to_string(source)?) {
            named += 1;
            if !cases.iter().any(|case| case.id == id) {
                return Err(
                    format!("{}: a test names {id}, which is no case", source.display()).into(),
                );
            }
        }
    }
    if named == 0 {
        return Err("no test names a case".into());
    }
    let table = fs::read_to_string(table_file())?;
    if let Some(case) = cases
        .iter()
        .find(|case| !table.contains(&format!("| {} |", case.id)))
    {
        return Err(format!(
            "tests/ACCEPTANCE.md has no row for {}: make it again",
            case.id
        )
        .into());
    }
    Ok(format!(
        "{named} tests name a case, {} cases have a row",
        cases.len()
    ))
}

fn list_sources(folder: &Path, sources: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list_sources(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
    Ok(())
}

fn write(folder: &Path) -> Outcome<String> {
    fs::write(table_file(), make(folder)?)?;
    Ok(format!("wrote {}", table_file().display()))
}

fn compare(folder: &Path) -> Outcome<String> {
    if make(folder)? == fs::read_to_string(table_file())? {
        Ok("the table says what the tests do".to_owned())
    } else {
        Err("tests/ACCEPTANCE.md is not what these runs make: run this with --write".into())
    }
}

/// The table from the output of test runs.
fn make(folder: &Path) -> Outcome<String> {
    let cases = all_cases()?;
    let mut columns = Vec::new();
    for target in table::TARGETS {
        let file = folder.join(format!("{}.log", target.name));
        let log =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        columns.push(results::read(&log));
    }
    let audits = fs::read_to_string(root().join("tests/acceptance/audits.txt"))?;
    Ok(table::make(&cases, &columns, &audits::read(&audits)?))
}
