//! Disturbs a night at many places, lets the next run go undisturbed, and asks the oracle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use super::bench::{Bench, Outcome, Post, Story};
use super::oracle;
use super::witness::{Call, Harm, Mode};

/// Points per story, unless `CRASH=all`.
const POINTS: usize = 40;
/// Requests a crash may cost: a login at two providers and a logout, and the pages under way in three lanes.
pub const REQUESTS_PER_CRASH: usize = 8;

/// As many nights at a time as there are cores: every story has two benches, and stories run side by side.
struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

static TURNS: Turns = Turns {
    free: Mutex::new(2),
    freed: Condvar::new(),
};

impl Turns {
    fn take<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Back<'t>(&'t Turns);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                *self.0.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
                self.0.freed.notify_one();
            }
        }
        let mut free = self.free.lock().unwrap();
        while *free == 0 {
            free = self.freed.wait(free).unwrap();
        }
        *free -= 1;
        drop(free);
        let _back = Back(self);
        work()
    }
}

/// An undisturbed night: the calls it makes and what it comes to.
pub struct Reference {
    pub calls: Vec<Call>,
    pub outcome: Outcome,
}

impl Reference {
    pub fn of(bench: &mut Bench) -> Self {
        bench.reset();
        let ended = bench.run(&[], Harm::None);
        assert_eq!(ended.code, Some(0), "the undisturbed night: {}", ended.said);
        let outcome = bench.outcome();
        let wrong = bench.unhealthy();
        assert!(wrong.is_empty(), "the undisturbed night: {wrong:#?}");
        Self {
            calls: ended.calls,
            outcome,
        }
    }
}

/// One history: what happens to the runs of a night, one after the other; an undisturbed one follows.
pub type History = Vec<Harm>;

/// Plays every history on two benches side by side and panics with what diverged.
pub fn play(story: Story, histories: impl Fn(&Reference) -> Vec<History>) {
    let begun = std::time::Instant::now();
    let prepared = || {
        let mut bench = Bench::new(story, BENCHES.fetch_add(1, Ordering::Relaxed));
        let reference = Reference::of(&mut bench);
        (bench, reference)
    };
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| TURNS.take(prepared));
        (TURNS.take(prepared), other.join().unwrap())
    });
    let histories = histories(&first.1);
    let (next, diverged) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let struck = AtomicUsize::new(0);
    let most = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (mut bench, reference) in [first, second] {
            let (histories, next, diverged, struck, most) = (&histories, &next, &diverged, &struck, &most);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(history) = histories.get(at) else { break };
                    let told = TURNS.take(|| tell(&mut bench, &reference, history));
                    struck.fetch_add(told.struck, Ordering::Relaxed);
                    most.fetch_max(told.requests_more, Ordering::Relaxed);
                    if !told.wrong.is_empty() {
                        let mut diverged = diverged.lock().unwrap();
                        diverged.insert(at, told);
                    }
                }
            });
        }
    });
    let harms: usize = histories.iter().map(Vec::len).sum();
    let struck = struck.into_inner();
    eprintln!(
        "{}: {} histories, {struck} of {harms} harms struck, at most {} requests more, {:?}",
        story.name,
        histories.len(),
        most.into_inner(),
        begun.elapsed()
    );
    let diverged = diverged.into_inner().unwrap();
    let shown: Vec<String> = diverged.values().take(60).map(ToString::to_string).collect();
    assert!(
        diverged.is_empty(),
        "{} of {} histories diverged:\n{}",
        diverged.len(),
        histories.len(),
        shown.join("\n")
    );
    assert!(struck * 10 >= harms * 9, "only {struck} of {harms} harms struck");
}

/// Benches of this process, so that no two share a folder.
static BENCHES: AtomicUsize = AtomicUsize::new(0);

/// How a history went.
struct Told {
    history: History,
    /// The last call before each harm.
    places: Vec<String>,
    struck: usize,
    requests_more: usize,
    wrong: Vec<String>,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {:?}:", self.history, self.places)?;
        self.wrong.iter().take(8).try_for_each(|line| write!(f, "\n    {line}"))
    }
}

fn tell(bench: &mut Bench, reference: &Reference, history: &[Harm]) -> Told {
    bench.reset();
    let mut told = Told {
        history: history.to_vec(),
        places: Vec::new(),
        struck: 0,
        requests_more: 0,
        wrong: Vec::new(),
    };
    for harm in history {
        let ended = bench.run(&[], *harm);
        let at = match harm {
            Harm::Kill { at, .. } | Harm::Fail { at, .. } => *at,
            Harm::None => 0,
        };
        if ended.calls.len() < at {
            // The run had fewer calls than that.
            continue;
        }
        told.struck += 1;
        told.places.extend(
            ended
                .calls
                .get(at.saturating_sub(1))
                .map(|call| format!("{} {}", call.operation, call.path)),
        );
        told.wrong
            .extend(oracle::half_files(&reference.outcome.files, &bench.files()));
        match (harm, ended.signal, ended.code) {
            (Harm::Kill { .. }, Some(9), _) | (Harm::Fail { .. }, None, Some(74)) => {}
            // What failed was of no consequence: then everything must be there.
            (Harm::Fail { .. }, None, Some(0)) => told.wrong.extend(
                diverging(reference, &bench.outcome(), 0)
                    .into_iter()
                    .map(|line| format!("exit 0 of the failing run: {line}")),
            ),
            (_, signal, code) => {
                told.wrong
                    .push(format!("ended with {code:?}, signal {signal:?}: {}", ended.said));
            }
        }
    }
    let ended = bench.run(&[], Harm::None);
    if ended.code != Some(0) {
        told.wrong
            .push(format!("the next run ended with {:?}: {}", ended.code, ended.said));
        return told;
    }
    let outcome = bench.outcome();
    told.requests_more = outcome.requests.saturating_sub(reference.outcome.requests);
    told.wrong.extend(diverging(reference, &outcome, told.struck));
    if bench.story.post == Post::Smtp {
        told.wrong
            .extend(other_mails(&reference.outcome, &outcome, told.struck));
    }
    told.wrong.extend(bench.unhealthy());
    told
}

/// Where the outcome of a history differs from the undisturbed one.
pub fn diverging(reference: &Reference, outcome: &Outcome, crashes: usize) -> Vec<String> {
    let wanted = &reference.outcome;
    let mut wrong = oracle::differences(&wanted.books, &outcome.books, &[]);
    wrong.extend(oracle::other_files(&wanted.files, &outcome.files));
    // The copy is made before the mails leave; a later copy knows that earlier ones left.
    let published = oracle::differences(&wanted.published, &outcome.published, &["mails"]);
    wrong.extend(
        published
            .into_iter()
            .map(|line| format!("in the published copy: {line}")),
    );
    let bound = wanted.requests + REQUESTS_PER_CRASH * crashes;
    if outcome.requests > bound {
        wrong.push(format!("{} requests, at most {bound} were due", outcome.requests));
    }
    wrong
}

/// Mails that were lost, changed or sent more often than crashes between acceptance and record explain.
fn other_mails(wanted: &Outcome, found: &Outcome, crashes: usize) -> Vec<String> {
    let count = |outcome: &Outcome| {
        let mut counted: BTreeMap<(Vec<String>, Vec<u8>), usize> = BTreeMap::new();
        for mail in &outcome.mails {
            *counted.entry((mail.to.clone(), mail.bytes.clone())).or_default() += 1;
        }
        counted
    };
    let (wanted, mut found) = (count(wanted), count(found));
    let (mut wrong, mut again) = (Vec::new(), 0);
    for (mail, times) in wanted {
        match found.remove(&mail) {
            None => wrong.push(format!("a mail to {:?} was lost or changed", mail.0)),
            Some(sent) => again += sent.saturating_sub(times),
        }
    }
    wrong.extend(
        found
            .keys()
            .map(|mail| format!("a mail to {:?} that nobody was owed", mail.0)),
    );
    if again > crashes {
        wrong.push(format!("{again} repeated mails after {crashes} crashes"));
    }
    wrong
}

/// Kills at chosen calls in each mode, and chains of them.
pub fn kills(reference: &Reference) -> Vec<History> {
    let points = points(&reference.calls);
    let mut histories: Vec<History> = Vec::new();
    for &at in &points {
        let writes = reference.calls[at - 1].operation.contains("write");
        let modes = if writes {
            &[Mode::Before, Mode::Torn, Mode::After][..]
        } else {
            &[Mode::Before, Mode::After]
        };
        histories.extend(modes.iter().map(|mode| vec![Harm::Kill { at, mode: *mode }]));
    }
    // Killed again while the next run makes up for it, once or twice.
    for (nth, &at) in points.iter().enumerate().filter(|(nth, _)| nth % 4 == 1) {
        let left = reference.calls.len().saturating_sub(at).max(8);
        let mut chain = vec![Harm::Kill { at, mode: Mode::Torn }];
        // The next run makes some calls before it goes on where the killed one stopped.
        chain.push(Harm::Kill {
            at: 8 + left * (nth % 7) / 8,
            mode: Mode::After,
        });
        if nth % 8 == 1 {
            chain.push(Harm::Kill {
                at: 8 + left / 16,
                mode: Mode::Before,
            });
        }
        histories.push(chain);
    }
    histories
}

/// Calls that fail, once or from then on.
pub fn failures(reference: &Reference) -> Vec<History> {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    let points = points(&reference.calls);
    let every = if everything() { 1 } else { 2 };
    let chosen = points.iter().enumerate().filter(|(nth, _)| nth % every == 0);
    chosen
        .map(|(nth, &at)| {
            let errno = if (nth / every).is_multiple_of(2) { ENOSPC } else { EIO };
            vec![Harm::Fail {
                at,
                errno,
                sticky: (nth / every / 2).is_multiple_of(2),
            }]
        })
        .collect()
}

fn everything() -> bool {
    std::env::var("CRASH").is_ok_and(|what| what == "all")
}

/// Numbers of calls, from 1: the first and the last of every kind, the neighbours of changes from one kind of file to
/// another, and evenly spread ones. The same calls always give the same points.
pub fn points(calls: &[Call]) -> Vec<usize> {
    if everything() {
        return (1..=calls.len()).collect();
    }
    let kinds: Vec<(&str, &str)> = calls
        .iter()
        .map(|call| (call.operation.as_str(), area(&call.path)))
        .collect();
    let mut chosen = std::collections::BTreeSet::new();
    let mut seen: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for (at, kind) in kinds.iter().enumerate() {
        seen.entry(*kind)
            .and_modify(|(_, last)| *last = at + 1)
            .or_insert((at + 1, at + 1));
    }
    // Of each kind of call on each kind of file one, turn and turn about the first and the last.
    chosen.extend(
        seen.values()
            .enumerate()
            .map(|(nth, (first, last))| if nth % 2 == 0 { *first } else { *last }),
    );
    let turns: Vec<usize> = (1..kinds.len()).filter(|at| kinds[*at].1 != kinds[at - 1].1).collect();
    chosen.extend(spread(turns.len(), POINTS / 4).map(|at| turns[at - 1] + 1));
    chosen.extend(spread(calls.len(), POINTS / 2));
    chosen.into_iter().collect()
}

/// `count` numbers from 1 to `of`, evenly apart.
fn spread(of: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(of);
    (0..count).map(move |nth| 1 + nth * of / count)
}

/// What kind of file a call is about.
fn area(path: &str) -> &'static str {
    let kinds = [
        (".eml", "mail"),
        ("/mail", "mail"),
        ("/out", "report"),
        ("copy", "published"),
        ("latest", "published"),
        ("-wal", "log"),
        ("-shm", "log"),
        (".lock", "lock"),
        ("reconciled-new", "new database"),
    ];
    let name = path.rsplit_once("/night").map_or(path, |(_, below)| below);
    kinds
        .iter()
        .find(|(part, _)| name.contains(part))
        .map_or("database", |(_, kind)| *kind)
}
