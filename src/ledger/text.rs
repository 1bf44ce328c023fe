//! Bytes -> UTF-8 text, streaming and strict: nothing is ever replaced by a question mark.
//!
//! Knows the byte-order marks of UTF-8 and UTF-16, Windows-1252, Latin-1, and the first bytes of things that are no text.
//! Does not know CSV.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult};

use crate::config::Encoding;

/// Bytes read from the file at a time.
const CHUNK: usize = 64 * 1024;
/// One byte of Windows-1252 becomes at most three of UTF-8, one unit of UTF-16 (two bytes) too.
const EXPANDED: usize = CHUNK * 3 + 16;

/// Why the bytes are no text, with their place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadText {
    /// `encoding`, byte offset from 0, line from 1.
    Invalid {
        encoding: &'static str,
        offset: u64,
        line: u64,
    },
    /// A zero byte in the decoded text.
    Nul { line: u64 },
    /// First bytes of another kind of file.
    Foreign { what: &'static str, cure: &'static str },
}

impl BadText {
    /// Where and what, as the rest of a sentence that begins with the file's name.
    pub(super) fn sentence(&self, file: &str) -> String {
        match self {
            Self::Invalid {
                encoding: "UTF-8",
                offset,
                line,
            } => format!(
                "{file}:{line}: byte {offset} is not UTF-8; save the file as UTF-8, or set encoding = \"windows-1252\" if that is what it is"
            ),
            Self::Invalid { encoding, offset, line } => {
                format!("{file}:{line}: byte {offset} is not valid {encoding}; export the file again")
            }
            Self::Nul { line } => format!(
                "{file}:{line}: a NUL byte; the file is damaged, binary, or UTF-16 without its byte-order mark; export it again as UTF-8"
            ),
            Self::Foreign { what, cure } => format!("{file} is {what}, not CSV text; {cure}"),
        }
    }
}

enum Mode {
    /// Not looked at yet.
    Unknown,
    Utf8,
    Latin1,
    Table(Decoder, &'static str),
}

/// A reader of UTF-8 over a reader of bytes. After an `io::Error`, [`Decoded::bad`] says whether the text was the reason.
pub(super) struct Decoded<R> {
    pub(super) inner: R,
    encoding: Encoding,
    mode: Mode,
    raw: Vec<u8>,
    /// Bytes at the start of `raw` that wait for the rest of their character.
    kept: usize,
    /// Bytes of the file before `raw[0]`.
    offset: u64,
    out: Vec<u8>,
    out_from: usize,
    line: u64,
    ended: bool,
    pub(super) bad: Option<BadText>,
}

impl<R: Read> Decoded<R> {
    pub(super) fn new(inner: R, encoding: Encoding) -> Self {
        Self {
            inner,
            encoding,
            mode: Mode::Unknown,
            raw: vec![0; CHUNK],
            kept: 0,
            offset: 0,
            out: Vec::with_capacity(CHUNK),
            out_from: 0,
            line: 1,
            ended: false,
            bad: None,
        }
    }

    fn fail(&mut self, bad: BadText) -> io::Error {
        self.bad = Some(bad);
        io::Error::new(io::ErrorKind::InvalidData, "not text")
    }

    /// Reads the next chunk behind what was kept and decodes it into `out`.
    fn refill(&mut self) -> io::Result<()> {
        let mut filled = self.kept;
        // The first look needs a few bytes even from a reader that gives them one by one.
        let wanted = if matches!(self.mode, Mode::Unknown) {
            8
        } else {
            self.kept + 1
        };
        while filled < wanted && !self.ended {
            match self.inner.read(&mut self.raw[filled..]) {
                Ok(0) => self.ended = true,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut start = 0;
        if matches!(self.mode, Mode::Unknown) {
            start = self.first_look(filled)?;
        }
        self.out.clear();
        self.out_from = 0;
        let used = self.decode(start, filled)?;
        self.offset += used as u64;
        self.raw.copy_within(used..filled, 0);
        self.kept = filled - used;
        if let Some(at) = memchr::memchr(0, &self.out) {
            let line = self.line + memchr::memchr_iter(b'\n', &self.out[..at]).count() as u64;
            return Err(self.fail(BadText::Nul { line }));
        }
        self.line += memchr::memchr_iter(b'\n', &self.out).count() as u64;
        Ok(())
    }

    /// Chooses the decoder; returns the length of the byte-order mark.
    fn first_look(&mut self, filled: usize) -> io::Result<usize> {
        let head = &self.raw[..filled];
        if let Some((_, what, cure)) = FOREIGN.iter().find(|(magic, _, _)| head.starts_with(magic)) {
            return Err(self.fail(BadText::Foreign { what, cure }));
        }
        let (mode, mark) = match head {
            [0xEF, 0xBB, 0xBF, ..] => (Mode::Utf8, 3),
            [0xFF, 0xFE, ..] => (
                Mode::Table(encoding_rs::UTF_16LE.new_decoder_without_bom_handling(), "UTF-16"),
                2,
            ),
            [0xFE, 0xFF, ..] => (
                Mode::Table(encoding_rs::UTF_16BE.new_decoder_without_bom_handling(), "UTF-16"),
                2,
            ),
            _ => match self.encoding {
                Encoding::Utf8 => (Mode::Utf8, 0),
                Encoding::Latin1 => (Mode::Latin1, 0),
                Encoding::Windows1252 => {
                    let decoder = encoding_rs::WINDOWS_1252.new_decoder_without_bom_handling();
                    (Mode::Table(decoder, "Windows-1252"), 0)
                }
            },
        };
        self.mode = mode;
        Ok(mark)
    }

    /// Decodes `raw[start..filled]` into `out`; returns the end of what was used, an incomplete last character stays.
    fn decode(&mut self, start: usize, filled: usize) -> io::Result<usize> {
        let raw = &self.raw[start..filled];
        match &mut self.mode {
            Mode::Unknown => Ok(start),
            Mode::Utf8 => match std::str::from_utf8(raw) {
                Ok(_) => {
                    self.out.extend_from_slice(raw);
                    Ok(filled)
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    self.out.extend_from_slice(&raw[..valid]);
                    if error.error_len().is_some() || self.ended {
                        return Err(self.invalid("UTF-8", self.offset + (start + valid) as u64));
                    }
                    Ok(start + valid)
                }
            },
            Mode::Latin1 => {
                self.out.resize(raw.len() * 2, 0);
                let written = encoding_rs::mem::convert_latin1_to_utf8(raw, &mut self.out);
                self.out.truncate(written);
                Ok(filled)
            }
            Mode::Table(decoder, name) => {
                let name = *name;
                self.out.resize(EXPANDED, 0);
                let (result, read, written) =
                    decoder.decode_to_utf8_without_replacement(raw, &mut self.out, self.ended);
                self.out.truncate(written);
                match result {
                    DecoderResult::InputEmpty => Ok(start + read),
                    DecoderResult::OutputFull => Err(io::Error::other("a chunk grew beyond its buffer")),
                    DecoderResult::Malformed(length, behind) => {
                        // The bad bytes may have begun in the chunk before.
                        let end = self.offset + (start + read) as u64;
                        let offset = end.saturating_sub(u64::from(length) + u64::from(behind));
                        Err(self.invalid(name, offset))
                    }
                }
            }
        }
    }

    fn invalid(&mut self, encoding: &'static str, offset: u64) -> io::Error {
        let line = self.line + memchr::memchr_iter(b'\n', &self.out).count() as u64;
        self.fail(BadText::Invalid { encoding, offset, line })
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.out_from == self.out.len() {
            if self.ended {
                return Ok(0);
            }
            self.refill()?;
        }
        let n = buffer.len().min(self.out.len() - self.out_from);
        buffer[..n].copy_from_slice(&self.out[self.out_from..self.out_from + n]);
        self.out_from += n;
        Ok(n)
    }
}

/// First bytes of files that people take for CSV.
const FOREIGN: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "compressed with gzip", "unpack it first"),
    (
        b"PK\x03\x04",
        "a ZIP archive or an Excel workbook",
        "unpack it, or save the sheet as CSV UTF-8",
    ),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first"),
    (b"BZh", "compressed with bzip2", "unpack it first"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it first"),
    (
        b"\xd0\xcf\x11\xe0",
        "an old Excel workbook",
        "save the sheet as CSV UTF-8",
    ),
    (
        b"SQLite format 3",
        "a SQLite database",
        "set kind = \"sqlite\" and a query",
    ),
    (b"%PDF", "a PDF document", "export CSV"),
];

/// The whole text of a file that a person saved in a spreadsheet: by its byte-order mark, else UTF-8, else what an older
/// Excel writes. Says so when it had to be the last.
///
/// # Errors
/// One sentence: what the file is, what to do.
pub(crate) fn decoded(bytes: &[u8]) -> Result<(String, Option<&'static str>), String> {
    let read = |encoding: Encoding| {
        let mut reader = Decoded::new(bytes, encoding);
        let mut text = String::new();
        match reader.read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(_) => Err(reader.bad),
        }
    };
    match read(Encoding::Utf8) {
        Ok(text) => Ok((text, None)),
        Err(Some(BadText::Invalid { encoding: "UTF-8", .. })) if !bytes.starts_with(b"\xEF\xBB\xBF") => {
            let text = read(Encoding::Windows1252).map_err(|bad| bad_text(bad.as_ref()))?;
            Ok((
                text,
                Some("it is not UTF-8 and was read as Windows-1252; look whether the notes' letters are right"),
            ))
        }
        Err(bad) => Err(bad_text(bad.as_ref())),
    }
}

fn bad_text(bad: Option<&BadText>) -> String {
    bad.map_or_else(|| "the file is no text".to_owned(), |bad| bad.sentence("the file"))
}
