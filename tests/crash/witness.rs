//! The real program as a child process, watched by the preloaded witness (`tests/support/kill.c`).

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// No run of these stories takes as long; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a call is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Before,
    /// Half the bytes are written.
    Torn,
    After,
}

/// What happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    None,
    /// SIGKILL at that call, from 1.
    Kill {
        at: usize,
        mode: Mode,
    },
    /// That call, and with `sticky` every later one, fails.
    Fail {
        at: usize,
        errno: i32,
        sticky: bool,
    },
}

/// One call that changes something on the disk.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: String,
    pub path: String,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// None: by a signal.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub said: String,
    pub took: Duration,
    pub calls: Vec<Call>,
}

/// A run under way.
pub struct Running {
    child: Child,
    begun: Instant,
    place: PathBuf,
}

/// The witness, compiled once per test run.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/kill.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kill-{}.so", std::process::id()));
        let cc = std::env::var_os("CC").unwrap_or_else(|| OsString::from("cc"));
        let compiled = Command::new(&cc)
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&library)
            .args([source, "-ldl"])
            .output()
            .unwrap_or_else(|error| {
                panic!("the crash tests need a C compiler (`cc`, or $CC), as the build itself does: {error}")
            });
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{source} does not compile:\n{said}");
        library
    })
}

/// Starts `reconciled` on the settings in `place/night`; the notes about it lie beside that folder.
pub fn start(place: &Path, arguments: &[&str], harm: Harm) -> Running {
    let night = place.join("night");
    let said = std::fs::File::create(place.join("said")).unwrap();
    // A run that is stopped before the witness wakes up leaves the trace of the one before.
    let _ = std::fs::remove_file(place.join("trace"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_reconciled"));
    command
        .arg("--config")
        .arg(night.join("reconciled.toml"))
        .args(arguments)
        .current_dir(place)
        .env("LD_PRELOAD", library())
        .env("KILL_DIR", &night)
        .env("KILL_TRACE", place.join("trace"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said);
    match harm {
        Harm::None => {}
        Harm::Kill { at, mode } => {
            let mode = match mode {
                Mode::Before => "before",
                Mode::Torn => "torn",
                Mode::After => "after",
            };
            command.env("KILL_AT", at.to_string()).env("KILL_MODE", mode);
        }
        Harm::Fail { at, errno, sticky } => {
            command
                .env("FAIL_AT", at.to_string())
                .env("FAIL_ERRNO", errno.to_string());
            if sticky {
                command.env("FAIL_STICKY", "1");
            }
        }
    }
    Running {
        child: command.spawn().unwrap(),
        begun: Instant::now(),
        place: place.to_owned(),
    }
}

/// Runs `reconciled` to its end.
pub fn run(place: &Path, arguments: &[&str], harm: Harm) -> Ended {
    start(place, arguments, harm).wait()
}

impl Running {
    /// Asks the run to stop.
    pub fn terminate(&self) {
        let id = i32::try_from(self.child.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn wait(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.begun.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                let said = std::fs::read_to_string(self.place.join("said")).unwrap_or_default();
                panic!("a run did not end in {PATIENCE:?}: {said}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let trace = std::fs::read_to_string(self.place.join("trace")).unwrap_or_default();
        Ended {
            code: status.code(),
            signal: status.signal(),
            said: std::fs::read_to_string(self.place.join("said")).unwrap_or_default(),
            took: self.begun.elapsed(),
            calls: trace.lines().filter_map(call).collect(),
        }
    }
}

/// A run does not outlive its test, whichever way that ends.
impl Drop for Running {
    fn drop(&mut self) {
        // Most have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `17 pwrite /path`. Threads may write their lines in another order than they counted; the difference is a few calls.
fn call(line: &str) -> Option<Call> {
    let mut words = line.splitn(3, ' ').skip(1);
    Some(Call {
        operation: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
    })
}
