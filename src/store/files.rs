//! Produced files, frozen: the bytes that were mailed can be written again.

use rusqlite::{Transaction, params};

use super::pages::{compress, decompress, sha256};
use super::{Store, damaged};
use crate::day::{BusinessDay, Instant, format_instant};
use crate::failure::{Class, Failure};

/// Freezes a produced file. Made again for the same day (another as-of), the newer bytes replace the former; false when it stands
/// so already.
pub fn put_file(
    tx: &Transaction<'_>,
    job: &str,
    day: BusinessDay,
    as_of: Instant,
    name: &str,
    bytes: &[u8],
) -> Result<bool, Failure> {
    if super::periods::closed_through(tx, job)?.is_some_and(|closed| day <= closed) {
        return Err(Failure::new(
            Class::Internal,
            format!("{name}: {day} is closed, its files are never rewritten; nothing was written"),
        ));
    }
    let written = tx.execute(
        "INSERT INTO files (job, business_day, as_of, name, sha256, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (job, business_day, name)
         DO UPDATE SET as_of = excluded.as_of, sha256 = excluded.sha256, bytes = excluded.bytes
          WHERE as_of <> excluded.as_of OR sha256 <> excluded.sha256 OR bytes <> excluded.bytes",
        params![
            job,
            day.to_string(),
            format_instant(as_of),
            name,
            sha256(bytes),
            compress(bytes)?
        ],
    )?;
    Ok(written == 1)
}

/// The frozen files of a job's day, by name.
pub fn get_files(store: &Store, job: &str, day: BusinessDay) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    store.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT name, bytes, sha256 FROM files WHERE job = ?1 AND business_day = ?2 ORDER BY name",
        )?;
        let mut rows = statement.query(params![job, day.to_string()])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            let bytes = decompress(row.get_ref(1)?.as_blob().map_err(|_| damaged("a file"))?)?;
            if sha256(&bytes) != row.get::<_, String>(2)? {
                return Err(damaged("a report file"));
            }
            files.push((row.get(0)?, bytes));
        }
        Ok(files)
    })
}
