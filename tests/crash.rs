//! The real program, killed at its writes, stopped, refused the disk: whatever happens, the next undisturbed run ends in
//! the state of a night in which nothing happened (FAILURES.md 3.2).
//!
//! Chosen points by default; `CRASH=all cargo test --test crash` takes every call of every story.

#[path = "crash/bench.rs"]
mod bench;
#[path = "crash/oracle.rs"]
mod oracle;
#[path = "support/smtp.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod smtp;
#[path = "crash/sweep.rs"]
mod sweep;
#[path = "crash/witness.rs"]
mod witness;

use bench::{Post, Story};

/// Six days of three providers, ledgers, bank and across, from nothing.
const BACKFILL: Story = Story {
    name: "backfill",
    night: 0,
    post: Post::Folder,
    read_before: false,
};

#[test]
fn a_backfill_killed_at_any_write_ends_as_if_nothing_had_happened() {
    sweep::play(BACKFILL, sweep::kills);
}

#[test]
fn probe() {
    let mut b = bench::Bench::new(BACKFILL, 99);
    for _ in 0..3 {
        let t = std::time::Instant::now();
        b.reset();
        eprintln!("reset {:?}", t.elapsed());
        let e = b.run(&[], witness::Harm::None);
        eprintln!("run {:?} calls {} requests {}", e.took, e.calls.len(), b.requests());
        let e = b.run(&[], witness::Harm::None);
        eprintln!("again {:?} calls {} requests {}", e.took, e.calls.len(), b.requests());
        let t = std::time::Instant::now();
        let o = b.outcome();
        eprintln!("outcome {:?} {} files", t.elapsed(), o.files.len());
        for c in ["verify", "replay"] {
            eprintln!("{c} {:?}", b.command(&[c]).took);
        }
        eprintln!("check {:?}", b.command(&["status"]).took);
        let t = std::time::Instant::now();
        oracle::unhealthy(&b.night().join("reconciled.db"));
        oracle::unhealthy(&b.night().join("reconciled-latest.db"));
        eprintln!("health {:?}", t.elapsed());
    }
    let e = {
        b.reset();
        b.run(&[], witness::Harm::None)
    };
    std::fs::write(
        "/tmp/trace.txt",
        e.calls
            .iter()
            .map(|c| format!("{} {}\n", c.operation, c.path))
            .collect::<String>(),
    )
    .unwrap();
}
