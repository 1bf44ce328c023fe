//! Disturbs a night at many places, lets the next run go undisturbed, and asks the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use super::bench::{Bench, Outcome, Post, Story};
use super::oracle;
use super::witness::{Call, Harm, Mode};

/// What of a night is disturbed, unless `CRASH` says more: calls of these sorts, each in one mode, in turn.
#[derive(Clone, Copy)]
pub struct Sample {
    /// One call of every kind on every kind of file.
    pub kinds: bool,
    /// Turns from one kind of file to another.
    pub turns: usize,
    /// Calls of the night's last tenth.
    pub ends: usize,
    /// Calls spread over the night.
    pub spread: usize,
    /// How many mails leave behind the copy for analysts: of the calls around one of them every other. 0: none of these.
    pub mails: usize,
}

/// Every kind of call, and little more.
pub const KINDS: Sample = Sample {
    kinds: true,
    turns: 1,
    ends: 1,
    spread: 1,
    mails: 0,
};
/// Places of a night whose kinds of calls [`KINDS`] covers already.
pub const PLACES: Sample = Sample {
    kinds: false,
    turns: 1,
    ends: 1,
    spread: 2,
    mails: 0,
};
/// A night of mails, one for each job.
pub const RECORDS: Sample = Sample {
    kinds: false,
    turns: 1,
    ends: 1,
    spread: 3,
    mails: super::JOBS,
};
/// The archive is proved after one in so many histories; the books are compared after each.
const PROVED: usize = 6;
/// One in so many points begins a chain of kills.
const CHAINED: usize = 12;
/// Requests a crash may cost: a login at six accounts and a logout, and what may be under way at once: one page at PayVyne and
/// one at TuPay, eight at One2Pays, four keys at TwoPay, two in each of three lanes of Ayoconnect.
pub const REQUESTS_PER_CRASH: usize = 6 + 1 + 1 + 1 + 8 + 4 + 3 * 2;

/// Two nights at a time: every story has two benches, and stories run side by side.
pub struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

pub static TURNS: Turns = Turns {
    free: Mutex::new(2),
    freed: Condvar::new(),
};

impl Turns {
    pub fn take<T>(&self, work: impl FnOnce() -> T) -> T {
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
        let reference = Self {
            calls: ended.calls,
            outcome,
        };
        // The same clock again: nobody is asked, nothing is mailed, every byte stays.
        let ended = bench.run(&[], Harm::None);
        let again = bench.outcome();
        let mut wrong = diverging(&reference, &again, 0);
        wrong.extend(bench.unhealthy());
        wrong.extend(bench.refuted("replay"));
        assert_eq!(ended.code, Some(0), "the same night again: {}", ended.said);
        assert_eq!(again.requests, reference.outcome.requests, "the same night again asked");
        assert_eq!(
            again.mails.len(),
            reference.outcome.mails.len(),
            "the same night again mailed"
        );
        assert!(wrong.is_empty(), "the undisturbed night: {wrong:#?}");
        reference
    }
}

impl Reference {
    fn without_mails(&self) -> Self {
        Self {
            calls: Vec::new(),
            outcome: self.outcome.without_mails(),
        }
    }
}

impl Outcome {
    fn without_mails(&self) -> Self {
        let (books, files) = oracle::without_mails(&self.books, &self.files);
        Self {
            books,
            files,
            ..self.clone()
        }
    }
}

/// One history: what happens to the runs of a night, one after the other; an undisturbed one follows.
pub type History = Vec<Harm>;

/// What a sweep came to.
pub struct Swept {
    pub struck: usize,
    /// Mails that were sent once more.
    pub mails_again: usize,
}

/// Plays every history and panics with what diverged; with `CRASH=all` on two benches side by side, else stories run side by
/// side anyway and another bench would cost more than it saves.
pub fn play(story: Story, histories: impl Fn(&Reference) -> Vec<History>) -> Swept {
    let begun = std::time::Instant::now();
    let prepared = || {
        let mut bench = Bench::new(story, BENCHES.fetch_add(1, Ordering::Relaxed));
        let reference = Reference::of(&mut bench);
        (bench, reference)
    };
    let benches: Vec<_> = std::thread::scope(|scope| {
        let many = if everything() { 2 } else { 1 };
        let begun: Vec<_> = (0..many).map(|_| scope.spawn(|| TURNS.take(prepared))).collect();
        begun.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let histories = histories(&benches[0].1);
    let (next, told) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for (mut bench, reference) in benches {
            let (histories, next, told) = (&histories, &next, &told);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(history) = histories.get(at) else { break };
                    let proved = everything() || at % PROVED == 0;
                    let one = TURNS.take(|| tell(&mut bench, &reference, history, proved));
                    told.lock().unwrap().insert(at, one);
                }
            });
        }
    });
    let told: Vec<Told> = told.into_inner().unwrap().into_values().collect();
    assert_eq!(told.len(), histories.len(), "every history was played");
    judge(story, &told, begun.elapsed())
}

fn judge(story: Story, told: &[Told], took: std::time::Duration) -> Swept {
    let harms: usize = told.iter().map(|one| one.history.len()).sum();
    let struck: usize = told.iter().map(|one| one.struck).sum();
    let more = told.iter().map(|one| one.requests_more).max().unwrap_or(0);
    let mails_again = told.iter().map(|one| one.mails_again).sum();
    let name = story.name;
    eprintln!(
        "{name}: {} histories, {struck} of {harms} harms struck, at most {more} requests more, {took:?}",
        told.len()
    );
    let diverged: Vec<&Told> = told.iter().filter(|one| !one.wrong.is_empty()).collect();
    let shown: Vec<String> = diverged.iter().take(12).map(ToString::to_string).collect();
    assert!(
        diverged.is_empty(),
        "{} of {} histories diverged:\n{}",
        diverged.len(),
        told.len(),
        shown.join("\n")
    );
    // A night makes more or fewer calls each time (on a busy machine a fifth fewer were seen): a harm near its end may find it over.
    // What the sweep must not be is idle.
    let missed = harms - struck;
    assert!(missed <= 1 + harms / 4, "only {struck} of {harms} harms struck");
    Swept { struck, mails_again }
}

/// Benches of this process, so that no two share a folder.
pub static BENCHES: AtomicUsize = AtomicUsize::new(0);

/// How a history went.
struct Told {
    history: History,
    /// The last call before each harm.
    places: Vec<String>,
    struck: usize,
    requests_more: usize,
    mails_again: usize,
    wrong: Vec<String>,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {:?}:", self.history, self.places)?;
        self.wrong.iter().take(8).try_for_each(|line| write!(f, "\n    {line}"))
    }
}

fn tell(bench: &mut Bench, reference: &Reference, history: &[Harm], proved: bool) -> Told {
    bench.reset();
    let mut told = Told {
        history: history.to_vec(),
        places: Vec::new(),
        struck: 0,
        requests_more: 0,
        mails_again: 0,
        wrong: Vec::new(),
    };
    let mut failed = false;
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
            (Harm::Kill { .. }, Some(9), _) => {}
            (Harm::Fail { .. }, None, Some(74)) => failed = true,
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
    if failed {
        told.wrong
            .extend(oracle::unsent(&reference.outcome.books, &outcome.books));
        told.wrong.extend(diverging(
            &reference.without_mails(),
            &outcome.without_mails(),
            told.struck,
        ));
    } else {
        told.wrong.extend(diverging(reference, &outcome, told.struck));
    }
    if bench.story.post == Post::Smtp {
        let (wrong, again) = other_mails(&reference.outcome, &outcome, told.struck);
        told.wrong.extend(wrong);
        told.mails_again = again;
    }
    told.wrong
        .extend(if proved { bench.unhealthy() } else { bench.unsound() });
    if everything() {
        told.wrong.extend(bench.refuted("replay"));
    }
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

/// Mails that were lost, changed or sent more often than crashes between acceptance and record explain; and how many were
/// sent again.
fn other_mails(wanted: &Outcome, found: &Outcome, crashes: usize) -> (Vec<String>, usize) {
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
    (wrong, again)
}

/// Kills at chosen calls, and chains of them: with `CRASH=all` at every call in each mode, else at those of the sample in one
/// mode each, in turn.
pub fn kills(reference: &Reference, sample: Sample) -> Vec<History> {
    let points = points(&reference.calls, sample);
    let mut histories: Vec<History> = Vec::new();
    for (nth, at) in points.iter().copied().enumerate() {
        let writes = reference.calls[at - 1].operation.contains("write");
        let modes = if writes {
            &[Mode::Before, Mode::Torn, Mode::After][..]
        } else {
            &[Mode::Before, Mode::After]
        };
        let modes = if everything() {
            modes
        } else {
            std::slice::from_ref(&modes[nth % modes.len()])
        };
        histories.extend(modes.iter().map(|mode| vec![Harm::Kill { at, mode: *mode }]));
    }
    // Killed again while the next run makes up for it, once or twice.
    for (nth, at) in points.iter().copied().enumerate().filter(|(nth, _)| nth % CHAINED == 1) {
        let left = reference.calls.len().saturating_sub(at).max(8);
        let mut chain = vec![Harm::Kill { at, mode: Mode::Torn }];
        // The next run makes some calls before it goes on where the killed one stopped.
        chain.push(Harm::Kill {
            at: 8 + left * (nth % 7) / 8,
            mode: Mode::After,
        });
        if nth % (2 * CHAINED) == 1 {
            chain.push(Harm::Kill {
                at: 8 + left / 16,
                mode: Mode::Before,
            });
        }
        histories.push(chain);
    }
    histories
}

/// Kills before, among and after the calls on files of a name.
pub fn kills_near(reference: &Reference, name: &str) -> Vec<History> {
    /// Kills around the place; more of them among the calls themselves tell nothing new.
    const KILLS: usize = 3;
    let at = |call: &Call| call.path.contains(name);
    let first = reference.calls.iter().position(at).expect("the night makes such calls");
    let last = reference
        .calls
        .iter()
        .rposition(at)
        .expect("the night makes such calls");
    let (from, until) = (first.saturating_sub(6), (last + 12).min(reference.calls.len()));
    let chosen = spread(until - from, if everything() { until - from } else { KILLS });
    chosen
        .map(|nth| {
            vec![Harm::Kill {
                at: from + nth,
                mode: Mode::After,
            }]
        })
        .collect()
}

/// Calls that fail, once or from then on.
pub fn failures(reference: &Reference) -> Vec<History> {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    let kinds = Sample {
        turns: 0,
        ends: 0,
        spread: 0,
        ..KINDS
    };
    let points = points(&reference.calls, kinds);
    let harm = |(nth, at): (usize, &usize)| {
        let errno = if nth % 2 == 0 { ENOSPC } else { EIO };
        vec![Harm::Fail {
            at: *at,
            errno,
            sticky: nth / 2 % 2 == 0,
        }]
    };
    points.iter().enumerate().map(harm).collect()
}

/// `CRASH=all`.
pub fn everything() -> bool {
    std::env::var("CRASH").is_ok_and(|what| what == "all")
}

/// `CRASH=200`: so many calls spread over each night instead of the sample's.
fn spread_wanted() -> Option<usize> {
    std::env::var("CRASH").ok()?.parse().ok()
}

/// Numbers of the calls to be disturbed, from 1; of a kind the last call. The same calls always give the same points. With
/// `CRASH=all` every call.
pub fn points(calls: &[Call], sample: Sample) -> Vec<usize> {
    if everything() {
        return (1..=calls.len()).collect();
    }
    let sample = Sample {
        spread: spread_wanted().unwrap_or(sample.spread),
        ..sample
    };
    let kinds: Vec<Kind<'_>> = calls.iter().map(kind).collect();
    let turns: Vec<usize> = (1..kinds.len()).filter(|at| kinds[*at].1 != kinds[at - 1].1).collect();
    let end = calls.len() / 10;
    let mut chosen: BTreeSet<usize> = BTreeSet::new();
    chosen.extend(spread(turns.len(), sample.turns).map(|at| turns[at - 1] + 1));
    chosen.extend(spread(end, sample.ends).map(|at| calls.len() + 1 - at));
    chosen.extend(spread(calls.len(), sample.spread));
    let copied = kinds.iter().rposition(|kind| kind.1 == "published");
    let copied = copied.map_or(0, |at| at + 1);
    if let Some(each) = (calls.len() - copied).checked_div(sample.mails) {
        let first = copied + 1 + each * (sample.mails / 2);
        chosen.extend((first..first + each).step_by(2));
    }
    if sample.kinds {
        let last: BTreeMap<Kind<'_>, usize> = kinds.iter().enumerate().map(|(at, kind)| (*kind, at + 1)).collect();
        chosen.extend(last.into_values());
    }
    chosen.into_iter().collect()
}

/// Operation and kind of file.
pub type Kind<'c> = (&'c str, &'static str);

pub fn kind(call: &Call) -> Kind<'_> {
    (call.operation.as_str(), area(&call.path))
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
