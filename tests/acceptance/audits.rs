//! The loss audits, which are run by hand and write a line each.

use std::fmt::Write as _;

use crate::Outcome;

/// The columns of a line, and of the table.
const COLUMNS: [&str; 10] = [
    "sends",
    "consumer",
    "target",
    "acknowledged",
    "faults",
    "lost",
    "duplicates",
    "order breaks",
    "offset breaks",
    "run",
];

const COUNT: usize = COLUMNS.len();

/// One audit: what a line says, and the share that may be lost for all that it knows.
#[derive(Debug)]
pub(crate) struct Audit {
    cells: Vec<String>,
    rate: String,
}

/// Reads the lines; `#` begins a remark.
pub(crate) fn read(text: &str) -> Outcome<Vec<Audit>> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(audit)
        .collect()
}

fn audit(line: &str) -> Outcome<Audit> {
    let cells: Vec<_> = line.split(" | ").map(str::to_owned).collect();
    let number = |name: &str| {
        let at = COLUMNS.iter().position(|column| *column == name)?;
        cells.get(at)?.parse::<u64>().ok()
    };
    let (Some(acked @ 1..), Some(lost), COUNT) =
        (number("acknowledged"), number("lost"), cells.len())
    else {
        return Err(format!("not an audit: {line}").into());
    };
    Ok(Audit {
        rate: rate(lost, acked),
        cells,
    })
}

/// The rule of three, where nothing was lost; what was is no estimate.
fn rate(lost: u64, acked: u64) -> String {
    match lost {
        0 => format!("under {:.1e}", 3.0 / acked as f64),
        _ => format!("{lost} of {acked}"),
    }
}

/// The last section of the table; none without an audit.
pub(crate) fn section(audits: &[Audit]) -> String {
    if audits.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## Loss audit\n\n\
         Run by hand: many messages, and faults at random times; see CONTRIBUTING. Lost is what was acknowledged and is not in the log, or \
         no listener finished. Duplicates are what listeners were given again; there are no more than the faults explain. Order is judged in \
         the rounds on one thread: on several nobody can tell it. Where nothing of n was lost, the rate is under 3/n with a confidence \
         of 95 %.\n\n",
    );
    let (columns, last) = (&COLUMNS[..COUNT - 1], COLUMNS[COUNT - 1]);
    let _ = write!(
        text,
        "| {} | rate of loss | {last} |\n|{}\n",
        columns.join(" | "),
        "---|".repeat(COUNT + 1)
    );
    for Audit { cells, rate } in audits {
        let (cells, last) = (&cells[..COUNT - 1], &cells[COUNT - 1]);
        let _ = writeln!(text, "| {} | {rate} | {last} |", cells.join(" | "));
    }
    text
}
