//! What became of a returned file, for the person who returned it: a text beside the file, and the same on the screen. Pure.

use crate::day::{Instant, format_instant};
use crate::report::words::shown;
use crate::store::audit::Head;

/// One line of the file and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub sheet: String,
    pub row: i64,
    /// As it stood in the sheet.
    pub id: String,
    pub decision: String,
    pub owner: Option<String>,
    pub note: Option<String>,
    /// Reason of a refusal; empty otherwise.
    pub why: String,
}

/// The whole of it.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub name: String,
    /// SHA-256 of the bytes.
    pub sha256: String,
    pub by: String,
    pub at: Instant,
    /// Why the file could not be read at all; then nothing else counts.
    pub unreadable: Option<String>,
    pub applied: Vec<Told>,
    pub unchanged: Vec<Told>,
    pub refused: Vec<Told>,
    /// Owner or note without a decision: nothing was done, and the person should know.
    pub undecided: Vec<Told>,
    /// Rows without any decision.
    pub without: u64,
    pub remarks: Vec<String>,
    /// When the same decisions came before, and from whom.
    pub before: Option<(String, String)>,
    pub head: Head,
}

impl Receipt {
    /// Nothing of it was refused.
    pub fn is_clean(&self) -> bool {
        self.unreadable.is_none() && self.refused.is_empty()
    }

    /// `3 applied, 1 unchanged, 0 refused`.
    pub fn counts(&self) -> String {
        match &self.unreadable {
            Some(_) => "nothing was taken".to_owned(),
            None => format!(
                "{} applied, {} unchanged, {} refused",
                self.applied.len(),
                self.unchanged.len(),
                self.refused.len()
            ),
        }
    }

    /// The receipt as text.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!("{}: {}", shown(&self.name), self.counts()),
            String::new(),
            format!("returned by  {}", shown(&self.by)),
            format!("taken in at  {}", format_instant(self.at)),
            format!("sha256       {}", self.sha256),
        ];
        if let Some(why) = &self.unreadable {
            lines.extend([
                String::new(),
                format!("The file was refused as a whole: {}", shown_long(why)),
            ]);
            return finish(lines);
        }
        lines.push(format!("audit trail  {}", self.head));
        if let Some((at, by)) = &self.before {
            lines.extend([
                String::new(),
                format!(
                    "The same decisions were taken in at {at} from {}; they have no effect twice.",
                    shown(by)
                ),
            ]);
        }
        lines.extend(self.remarks.iter().map(|remark| format!("\n{remark}")));
        for (title, told) in [
            (
                "Refused: please look at these rows, correct them and return them again",
                &self.refused,
            ),
            (
                "Owner or note without a decision: nothing was done; write `assign`, `explain` or another decision",
                &self.undecided,
            ),
            ("Applied", &self.applied),
            ("Unchanged: it stood so already", &self.unchanged),
        ] {
            if !told.is_empty() {
                lines.extend([String::new(), format!("{title} ({})", told.len())]);
                lines.extend(told.iter().map(Told::line));
            }
        }
        lines.extend([
            String::new(),
            format!("{} rows carry no decision and were passed over.", self.without),
        ]);
        finish(lines)
    }
}

fn finish(lines: Vec<String>) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// A sentence of ours may be longer than a value.
fn shown_long(text: &str) -> String {
    text.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

impl Told {
    /// `row 7: 0123456789abcdef accept: <why>`
    pub fn line(&self) -> String {
        let sheet = if self.sheet.is_empty() {
            String::new()
        } else {
            format!("sheet {:?} ", shown(&self.sheet))
        };
        let id = if self.id.is_empty() { "(no id)" } else { &self.id };
        let mut line = format!("  {sheet}row {}: {}", self.row, shown(id));
        if !self.decision.is_empty() {
            line.push_str(&format!(" {}", shown(&self.decision)));
        }
        if let Some(owner) = &self.owner {
            line.push_str(&format!(", owner {}", shown(owner)));
        }
        if !self.why.is_empty() {
            line.push_str(&format!(": {}", shown_long(&self.why)));
        }
        line
    }
}
