//! Reading a file that people write for us: a regular file, nobody else's to change, of sensible size, UTF-8.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Problem;

/// Settings are kilobytes; a megabyte is somebody's mistake.
const MAX_BYTES: u64 = 1 << 20;

/// Others with these permissions could redirect requests or mails.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Reads a settings or job file. `shown` is its path as messages name it.
///
/// # Errors
/// One problem of the whole file: missing, no regular file, writable by others, too large, not UTF-8.
pub fn read(path: &Path, shown: &str) -> Result<String, Problem> {
    let problem = |line, message: String| Problem {
        file: shown.to_owned(),
        line,
        message,
    };
    let cannot = |error: std::io::Error| problem(0, format!("cannot be read: {}", error.kind()));
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let meta = std::fs::metadata(path).map_err(cannot)?;
    if !meta.is_file() {
        return Err(problem(0, "is not a regular file".to_owned()));
    }
    if meta.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(problem(
            0,
            format!("can be changed by other users; run `chmod go-w {shown}`"),
        ));
    }
    if meta.len() > MAX_BYTES {
        return Err(problem(
            0,
            format!("is larger than {MAX_BYTES} bytes; this cannot be a file of settings"),
        ));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        problem(line, format!("is not UTF-8 at byte {good}; save the file as UTF-8"))
    })
}
