//! What leaves the program on stderr, as the journal of systemd reads it, and what is said of a panic.
//!
//! Under systemd stderr is the journal (`$JOURNAL_STREAM` names it): a line that begins with `<N>` gets that priority, so
//! that `journalctl -p err` shows what failed. A panic's payload may hold data and is never shown: only the place in the
//! source is. Does not know what is logged.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::OnceLock;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::failure::Class;

/// Priorities of syslog that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    Critical = 2,
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

impl Priority {
    fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            Level::INFO => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// Whether stderr is connected to the journal: `$JOURNAL_STREAM` holds the device and inode of this very stream.
pub fn is_stderr() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| {
        let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        // Opened through /proc so that no descriptor of the standard library has to be taken apart.
        std::fs::metadata("/proc/self/fd/2").is_ok_and(|meta| named == format!("{}:{}", meta.dev(), meta.ino()))
    })
}

/// Text for stderr: control characters as spaces, each line with its priority where the journal listens.
pub fn lines(priority: Priority, text: &str, journal: bool) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if journal {
            out.push_str(&format!("<{}>", priority as u8));
        }
        out.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }));
        out.push('\n');
    }
    out
}

/// Writes to stderr; where nobody listens any more, the work goes on.
pub fn tell(priority: Priority, text: &str) {
    let text = lines(priority, text, is_stderr());
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// From now on a panic is one line that names the place and nothing of its payload.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| tell(Priority::Critical, &said_of(info))));
}

fn said_of(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map_or_else(
        || "an unknown place".to_owned(),
        |at| format!("{}:{}:{}", at.file(), at.line(), at.column()),
    );
    format!(
        "reconciled: internal error: a panic at {place}; its message may hold data and is not shown; please report the place"
    )
}

/// Runs the program; a panic that no job caught ends with the exit code of INTERNAL.
pub fn guarded(program: impl FnOnce() -> u8) -> u8 {
    catch_unwind(AssertUnwindSafe(program)).unwrap_or_else(|_| {
        tell(
            Priority::Critical,
            "reconciled: a panic ended the program; what was stored is whole, the next run goes on from there [INTERNAL 70]",
        );
        Class::Internal.code()
    })
}

/// The log's lines with priorities in front, for where the journal's own socket cannot be reached.
pub struct Prefixed<F = Format>(pub F);

impl<S, N, F> FormatEvent<S, N> for Prefixed<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", Priority::of(*event.metadata().level()) as u8)?;
        self.0.format_event(ctx, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_priority_where_the_journal_listens_and_none_elsewhere() {
        let text = "one\ntwo \u{1b}[31m";
        assert_eq!(lines(Priority::Error, text, true), "<3>one\n<3>two  [31m\n");
        assert_eq!(lines(Priority::Warning, text, false), "one\ntwo  [31m\n");
    }

    /// Runs one of the ignored tests below in a process of its own.
    fn alone(name: &str) -> std::process::Output {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("journal::tests::{name}"),
                "--ignored",
                "--nocapture",
            ])
            .output()
            .unwrap()
    }

    #[test]
    #[ignore = "ends its process; run by the test after it"]
    fn a_program_that_panics() {
        install_panic_hook();
        std::process::exit(i32::from(guarded(|| {
            let card = String::from("4111111111111111");
            panic!("cannot read {card}")
        })));
    }

    #[test]
    fn a_panic_outside_a_job_ends_with_70_and_shows_its_place_but_nothing_of_its_message() {
        let ended = alone("a_program_that_panics");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(70), "{said}");
        assert!(said.contains("a panic at src/journal.rs:"), "{said}");
        assert!(!said.contains("4111") && !said.contains("cannot read"), "{said}");
    }
}
