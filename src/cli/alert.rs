//! `alert`: what systemd calls when a unit failed (`OnFailure=reconciled-alert@%n.service`). It tells what the failed process could not
//! tell itself: killed for memory, killed by the watchdog, never started for want of a credential.

use reconciled::failure::{Class, Failure};
use reconciled::journal::{self, Priority};
use reconciled::{alert, config};

use super::args::Args;
use super::desk::now;
use super::{complain, tell};

/// One sentence on stderr, critical in the journal; the heartbeat's `/fail`; a mail to the operators.
/// Each is tried whatever became of the others. A job that does not hold may be why the unit failed, therefore only the
/// settings file is read; where that does not hold either, the sentence is all there is.
pub async fn alert(args: &Args, unit: &str) -> Result<u8, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let sentence = sentence(unit, &variable);
    journal::tell(Priority::Critical, &sentence);
    let settings = config::load_settings(args.config.as_deref()).map_err(|problems| complain(&problems))?;
    let beat = alert::heartbeat(&settings.alerts, &settings.folder, false)
        .await
        .map_err(|why| Failure::new(Class::ProviderDown, why));
    let now = now();
    // Without systemd's number for this failure the moment has to do.
    let invocation = variable("MONITOR_INVOCATION_ID").unwrap_or_else(|| reconciled::day::format_instant(now));
    let said = sentence.trim_start_matches("reconciled: ");
    let mailed = alert::unit_failed(&settings, &plain(unit), &invocation, said, now)
        .await
        .map_err(|failure| Failure::new(failure.class, format!("the operators' mail: {failure}")));
    if let (Err(failure), Err(_)) = (&beat, &mailed) {
        tell(&format!("reconciled: {failure}"));
    }
    mailed.and(beat).map(|()| 0)
}

/// `variable`: what systemd says about the failed unit in the environment of this one.
fn sentence(unit: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let said = |name: &str| variable(name).map(|value| plain(&value));
    let why = match (said("MONITOR_SERVICE_RESULT"), said("MONITOR_EXIT_STATUS")) {
        (Some(result), Some(status)) => format!(" ({result}, status {status})"),
        (Some(result), None) => format!(" ({result})"),
        _ => String::new(),
    };
    let unit = plain(unit);
    format!(
        "reconciled: {unit} failed{why}; `journalctl -u {unit}` says what it said last, `reconciled status` what stands in the books"
    )
}

/// Names of units and results are plain words; anything else does not get into the log.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.@:\\".contains(c) {
                c
            } else {
                '?'
            }
        })
        .take(256)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_unit_and_result_and_lets_nothing_else_into_the_log() {
        let oom = |name: &str| match name {
            "MONITOR_SERVICE_RESULT" => Some("oom-kill".to_owned()),
            "MONITOR_EXIT_STATUS" => Some("KILL".to_owned()),
            _ => None,
        };
        let said = sentence("reconciled-run@tupay-pe.service", &oom);
        assert!(
            said.starts_with("reconciled: reconciled-run@tupay-pe.service failed (oom-kill, status KILL); "),
            "{said}"
        );
        let hostile = sentence("a\nb\u{1b}[2J", &|_| None);
        assert!(
            hostile.starts_with("reconciled: a?b??2J failed; ") && !hostile.contains('\n'),
            "{hostile}"
        );
    }
}
