//! Progress bars, on a terminal only.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reconciled::fetch::Progress;

/// One bar per job: windows read, with the feed at hand and the rows so far. Says nothing when stderr is no terminal.
pub struct Bars {
    all: MultiProgress,
    shown: bool,
    bars: Mutex<BTreeMap<String, (ProgressBar, u64)>>,
}

impl Bars {
    pub fn new(quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        Self {
            all: MultiProgress::new(),
            shown,
            bars: Mutex::new(BTreeMap::new()),
        }
    }

    fn with(&self, job: &str, act: impl FnOnce(&mut (ProgressBar, u64))) {
        if !self.shown {
            return;
        }
        let Ok(mut bars) = self.bars.lock() else { return };
        let bar = bars.entry(job.to_owned()).or_insert_with(|| {
            let style = ProgressStyle::with_template("{prefix:16} {bar:30} {pos}/{len} windows  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = self
                .all
                .add(ProgressBar::new(0))
                .with_style(style)
                .with_prefix(job.to_owned());
            (bar, 0)
        });
        act(bar);
    }

    /// Takes the bars off the terminal.
    pub fn clear(&self) {
        let _ = self.all.clear();
        if let Ok(mut bars) = self.bars.lock() {
            bars.clear();
        }
    }
}

impl Progress for Bars {
    fn windows(&self, job: &str, total: u64) {
        self.with(job, |(bar, _)| bar.inc_length(total));
    }

    fn sealed(&self, job: &str, _feed: &str) {
        self.with(job, |(bar, _)| bar.inc(1));
    }

    fn page(&self, job: &str, feed: &str, rows: u64) {
        self.with(job, |(bar, seen)| {
            *seen += rows;
            bar.set_message(format!("{feed}: {seen} rows"));
        });
    }
}
