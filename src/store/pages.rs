//! The archive: raw answers as zstd frames, hashed and chained, each with the position it stands for in one durable
//! transaction. Pages never change; the same bytes at the same place are not stored twice.

use std::cell::RefCell;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};
use zstd::bulk::{Compressor, Decompressor};

use super::{OpenReading, Place, Store, WindowState, damaged, stored_instant};
use crate::day::{Instant, format_instant};
use crate::failure::{Class, Failure};

/// zstd level: 5.7 times smaller at 1.0 s per 574 MB; higher levels cost much and gain nothing here.
const LEVEL: i32 = 1;
/// No body is longer, in bytes: far above every `max_body_bytes`; a frame that claims more is damaged.
const LONGEST_BODY: usize = 1 << 30;

/// Pages archived between two times when the cache is given back: a megabyte or two.
const PAGES_CACHED: u32 = 128;

/// An archived page of the pass being continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPage {
    pub page_id: i64,
    pub number: u32,
    pub confirms: bool,
    pub http_status: u16,
    /// Wall clock.
    pub fetched_at: Instant,
    /// Decompressed.
    pub body: Vec<u8>,
}

/// An answer to be archived.
#[derive(Clone, Debug)]
pub struct NewPage {
    /// As the provider counts; cursor pages count from 0.
    pub number: u32,
    /// Read again after the walk, to prove that nothing moved.
    pub confirms: bool,
    /// Wall clock.
    pub fetched_at: Instant,
    /// Method, path and query; never a credential.
    pub request: String,
    pub http_status: u16,
    /// Scrubbed, uncompressed.
    pub body: Vec<u8>,
}

/// A page ready for the archive: digested and compressed, which any thread can do before the one that writes.
#[derive(Clone, Debug)]
pub struct PackedPage {
    number: u32,
    confirms: bool,
    fetched_at: Instant,
    request: String,
    http_status: u16,
    body_sha256: String,
    frame: Vec<u8>,
}

impl NewPage {
    /// Digests and compresses the body.
    ///
    /// # Errors
    /// INTERNAL when it cannot be compressed.
    pub fn pack(self) -> Result<PackedPage, Failure> {
        Ok(PackedPage {
            number: self.number,
            confirms: self.confirms,
            fetched_at: self.fetched_at,
            request: self.request,
            http_status: self.http_status,
            body_sha256: sha256(&self.body),
            frame: compress(&self.body)?,
        })
    }
}

impl PackedPage {
    /// The same page as the proof after the walk, or not.
    #[must_use]
    pub fn confirming(self, confirms: bool) -> Self {
        Self { confirms, ..self }
    }
}

/// Archives pages that arrived together, each with the position it stands for, in one durable transaction.
///
/// Positions count from 0 in the order of arrival inside the pass; `first` is that of the first of these pages. The same page
/// at the same position again is no new write; another page there, or a window that is not being read, is `INTERNAL`.
pub fn archive_pages<'p>(
    store: &Store,
    place: &Place<'_>,
    reading: &OpenReading,
    first: u32,
    pages: impl IntoIterator<Item = &'p PackedPage>,
) -> Result<(), Failure> {
    store.write(|tx| {
        expect_open(tx, reading)?;
        for (position, page) in (first..).zip(pages) {
            archive(tx, place, reading, position, page)?;
        }
        Ok(())
    })
}

fn archive(
    tx: &Transaction<'_>,
    place: &Place<'_>,
    reading: &OpenReading,
    position: u32,
    page: &PackedPage,
) -> Result<(), Failure> {
    if position % PAGES_CACHED == PAGES_CACHED - 1 {
        // Pages are only added, so the ones before are kept for nobody.
        tx.execute_batch("PRAGMA shrink_memory")?;
    }
    if let Some((number, standing)) = standing(tx, reading, position)? {
        if (number, standing) == (page.number, page.body_sha256.clone()) {
            return Ok(());
        }
        return Err(Failure::new(
            Class::Internal,
            format!("position {position} of this pass is taken by page {number}; nothing was written"),
        ));
    }
    let page_id = match same_bytes(tx, reading, page)? {
        Some(page_id) => page_id,
        None => insert(tx, place, reading, page)?,
    };
    tx.prepare_cached(
        "INSERT INTO readings (window_id, reading, pass, position, number, confirms, page_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        reading.window_id,
        reading.reading,
        reading.pass,
        position,
        page.number,
        page.confirms,
        page_id
    ])?;
    Ok(())
}

/// Refuses to write into a window that is sealed or that another reading has taken over.
pub(super) fn expect_open(tx: &Connection, reading: &OpenReading) -> Result<(), Failure> {
    let there: Option<(String, u32)> = tx
        .prepare_cached("SELECT state, reading FROM windows WHERE window_id = ?1")?
        .query_row([reading.window_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match there {
        Some((state, number)) if state == WindowState::Open.as_str() && number == reading.reading => Ok(()),
        _ => Err(Failure::new(
            Class::Internal,
            format!(
                "window {} is not being read (reading {})",
                reading.window_id, reading.reading
            ),
        )),
    }
}

fn standing(tx: &Connection, reading: &OpenReading, position: u32) -> Result<Option<(u32, String)>, Failure> {
    Ok(tx
        .prepare_cached(
            "SELECT r.number, p.body_sha256 FROM readings AS r JOIN pages AS p USING (page_id)
              WHERE r.window_id = ?1 AND r.reading = ?2 AND r.pass = ?3 AND r.position = ?4",
        )?
        .query_row(
            params![reading.window_id, reading.reading, reading.pass, position],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?)
}

fn same_bytes(tx: &Connection, reading: &OpenReading, page: &PackedPage) -> Result<Option<i64>, Failure> {
    Ok(tx
        .prepare_cached(
            "SELECT page_id FROM pages WHERE window = ?1 AND number = ?2 AND body_sha256 = ?3 AND http_status = ?4
              ORDER BY page_id LIMIT 1",
        )?
        .query_row(
            params![reading.window_id, page.number, page.body_sha256, page.http_status],
            |row| row.get(0),
        )
        .optional()?)
}

fn insert(tx: &Transaction<'_>, place: &Place<'_>, reading: &OpenReading, page: &PackedPage) -> Result<i64, Failure> {
    let link = Link {
        job: place.job,
        feed: place.ask.feed,
        window: reading.window_id,
        number: page.number,
        fetched_at: &format_instant(page.fetched_at),
        as_of: &format_instant(place.ask.as_of),
        request_sha256: &sha256(page.request.as_bytes()),
        http_status: page.http_status,
        body_sha256: &page.body_sha256,
    };
    let before: Option<String> = tx
        .prepare_cached("SELECT chain FROM pages ORDER BY page_id DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    tx.prepare_cached(
        "INSERT INTO pages (job, feed, window, number, fetched_at, as_of, request, http_status, body_sha256, body, chain)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        link.job,
        link.feed,
        link.window,
        link.number,
        link.fetched_at,
        link.as_of,
        page.request,
        link.http_status,
        link.body_sha256,
        page.frame,
        link.chain(before.as_deref().unwrap_or_default())
    ])?;
    Ok(tx.last_insert_rowid())
}

/// What of a page is chained: every column; for request and body their digests, so that the chain survives when a person's
/// data is masked in them.
pub(super) struct Link<'a> {
    pub job: &'a str,
    pub feed: &'a str,
    pub window: i64,
    pub number: u32,
    pub fetched_at: &'a str,
    pub as_of: &'a str,
    pub request_sha256: &'a str,
    pub http_status: u16,
    pub body_sha256: &'a str,
}

impl Link<'_> {
    /// The chain value of this page after the page with the chain value `before` (empty for the first page).
    pub(super) fn chain(&self, before: &str) -> String {
        let mut digest = Sha256::new();
        let (window, number, status) = (
            self.window.to_string(),
            self.number.to_string(),
            self.http_status.to_string(),
        );
        for field in [
            before,
            self.job,
            self.feed,
            &window,
            &number,
            self.fetched_at,
            self.as_of,
            self.request_sha256,
            &status,
            self.body_sha256,
        ] {
            // With its length before it no two rows give the same bytes.
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        hex::encode(digest.finalize())
    }
}

/// Gives the archived pages of a reading's present pass one by one, in order of arrival; `each` says whether to go on.
///
/// # Errors
/// `INTERNAL` where a page cannot be decompressed.
pub fn resumed(store: &Store, reading: &OpenReading, mut each: impl FnMut(StoredPage) -> bool) -> Result<(), Failure> {
    store.read(|connection| {
        let mut statement = connection.prepare_cached(OF_PASS)?;
        let mut rows = statement.query(params![reading.window_id, reading.reading, reading.pass])?;
        while let Some(row) = rows.next()? {
            let page_id: i64 = row.get(0)?;
            let page = StoredPage {
                page_id,
                number: row.get(1)?,
                confirms: row.get(2)?,
                http_status: row.get(4)?,
                fetched_at: stored_instant(&row.get::<_, String>(5)?)?,
                body: decompress(row.get_ref(3)?.as_blob().unwrap_or_default())
                    .map_err(|failure| failure.at(format!("page {page_id}")))?,
            };
            if !each(page) {
                break;
            }
        }
        Ok(())
    })
}

const OF_PASS: &str =
    "SELECT r.page_id, r.number, r.confirms, p.body, p.http_status, p.fetched_at FROM readings AS r JOIN pages AS p USING (page_id)
                        WHERE r.window_id = ?1 AND r.reading = ?2 AND r.pass = ?3 ORDER BY r.position";

/// Whether the present pass has a page.
pub(super) fn is_begun(connection: &Connection, reading: &OpenReading) -> Result<bool, Failure> {
    let mut statement = connection.prepare_cached(OF_PASS)?;
    Ok(statement.exists(params![reading.window_id, reading.reading, reading.pass])?)
}

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// One zstd frame that knows its content's length.
pub(crate) fn compress(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    thread_local! {
        /// Setting up its tables costs a third of compressing a page.
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    }
    let failed = |_| Failure::new(Class::Internal, "a body could not be compressed");
    COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = match kept.take() {
            Some(compressor) => compressor,
            None => Compressor::new(LEVEL).map_err(failed)?,
        };
        let frame = compressor.compress(bytes).map_err(failed)?;
        *kept = Some(compressor);
        Ok(frame)
    })
}

/// The content of a frame that [`compress`] made; `LOCAL-IO` when the bytes are damaged.
pub(crate) fn decompress(frame: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut unpacker = Unpacker::new()?;
    unpacker.unpack(frame)?;
    Ok(unpacker.body)
}

/// Decompresses one frame after the other into the same memory.
pub(super) struct Unpacker {
    decompressor: Decompressor<'static>,
    body: Vec<u8>,
}

impl Unpacker {
    pub(super) fn new() -> Result<Self, Failure> {
        let decompressor =
            Decompressor::new().map_err(|_| Failure::new(Class::Internal, "no body can be decompressed"))?;
        Ok(Self {
            decompressor,
            body: Vec::new(),
        })
    }

    /// As [`decompress`].
    pub(super) fn unpack(&mut self, frame: &[u8]) -> Result<&[u8], Failure> {
        let length = Decompressor::<'static>::upper_bound(frame)
            .filter(|length| *length <= LONGEST_BODY)
            .ok_or_else(|| damaged("a body"))?;
        self.body.clear();
        self.body.reserve(length);
        self.decompressor
            .decompress_to_buffer(frame, &mut self.body)
            .map_err(|_| damaged("a body"))?;
        Ok(&self.body)
    }
}
