//! The cases, and which of them the name of a test says that it is about.

use crate::Outcome;

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    /// The heading above it, if it is the first below one.
    pub(crate) heading: Option<String>,
    /// Only the testkit can do it.
    pub(crate) testkit_only: bool,
    pub(crate) text: String,
    pub(crate) note: Option<String>,
}

/// Reads `ID | targets | text | note` lines; `##` begins a heading, `#` a remark.
pub(crate) fn read(text: &str) -> Outcome<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let mut heading = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("## ") {
            heading = Some(title.to_owned());
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let mut parts = line.split(" | ");
        let (Some(id), Some(targets), Some(text)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(format!("not a case: {line}").into());
        };
        if cases.iter().any(|case| case.id == id) {
            return Err(format!("{id} is there twice").into());
        }
        cases.push(Case {
            id: id.to_owned(),
            heading: heading.take(),
            testkit_only: match targets {
                "T" => true,
                "TA" => false,
                _ => return Err(format!("{id}: unknown targets {targets}").into()),
            },
            text: text.to_owned(),
            note: parts.next().map(str::to_owned),
        });
    }
    Ok(cases)
}

/// The ids in the names of the functions of a source that are marked as tests.
pub(crate) fn ids_of_tests(source: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ")
            && !line.starts_with("//")
        {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            if std::mem::take(&mut marked) {
                ids.extend(ids_in(name));
            }
        }
    }
    ids
}

/// The ids that a name begins with: `a_rb_01_02_f24_two_members` is about A-RB-01, A-RB-02 and F24.
pub(crate) fn ids_in(name: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut parts = name.split('_').peekable();
    let mut area = None;
    while let Some(part) = parts.next() {
        let number = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        if part == "a" && parts.peek().is_some_and(|next| next.len() == 2) {
            area = parts.next().map(str::to_uppercase);
        } else if let (true, Some(area)) = (number, &area) {
            ids.push(format!("A-{area}-{part}"));
        } else if part.len() == 3
            && part.starts_with(['f', 'l'])
            && part[1..].bytes().all(|byte| byte.is_ascii_digit())
        {
            ids.push(part.to_uppercase());
        } else {
            break;
        }
    }
    ids
}
