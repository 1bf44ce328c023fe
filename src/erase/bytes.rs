//! Produced bytes: CSVs, pages, mails. A text is looked for in every form these files give it.

use std::borrow::Cow;
use std::io::{Cursor, Read, Write};

use base64::Engine;
use mail_parser::{MessageParser, PartType};

use crate::failure::{Class, Failure};

/// What is replaced by what.
#[derive(Clone, Debug, Default)]
pub struct Pairs(Vec<(Vec<u8>, Vec<u8>)>);

impl Pairs {
    /// A text in all its forms: as it is, in a quoted CSV cell, in HTML, in a workbook, in JSON, in a URL, in the one-byte
    /// letters that an office program may have saved a returned sheet with.
    pub fn of(subject: &str, token: &str) -> Self {
        let mut html = String::new();
        for c in subject.chars() {
            // As the template engine writes them.
            match c {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#x27;"),
                '/' => html.push_str("&#x2f;"),
                c => html.push(c),
            }
        }
        // As workbooks write the text of a cell.
        let xml = subject.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let json = json_form(subject);
        let url = crate::providers::encode(subject);
        let forms = [
            subject.to_owned(),
            subject.replace('"', "\"\""),
            html,
            xml.replace('"', "&quot;"),
            xml,
            json,
            url.replace("%20", "+"),
            url,
        ];
        let mut pairs = Self::default();
        for form in forms {
            pairs.and(&form, token);
        }
        let latin: Option<Vec<u8>> = subject.chars().map(|c| u8::try_from(c).ok()).collect();
        if let Some(latin) = latin.filter(|latin| latin.len() < subject.len()) {
            pairs.0.push((latin, token.into()));
        }
        pairs
    }

    /// One more, as it is.
    pub fn and(&mut self, from: &str, to: &str) {
        if !from.is_empty() && !self.0.iter().any(|(known, _)| known == from.as_bytes()) {
            self.0.push((from.into(), to.into()));
        }
    }

    /// The bytes with everything replaced; borrowed where nothing is found.
    pub fn apply<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let mut out = Cow::Borrowed(bytes);
        for (from, to) in &self.0 {
            let finder = memchr::memmem::Finder::new(from);
            if finder.find(&out).is_none() {
                continue;
            }
            let (mut replaced, mut kept) = (Vec::with_capacity(out.len()), 0);
            for at in finder.find_iter(&out) {
                replaced.extend_from_slice(&out[kept..at]);
                replaced.extend_from_slice(to);
                kept = at + from.len();
            }
            replaced.extend_from_slice(&out[kept..]);
            out = Cow::Owned(replaced);
        }
        out
    }

    /// A file with everything replaced, in the parts of a workbook or a zip too; None: it holds nothing.
    ///
    /// # Errors
    /// INTERNAL for a zip that cannot be written.
    pub fn apply_to_file(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        match bytes.starts_with(ZIP) {
            true => self.apply_to_zip(bytes),
            false => Ok(owned(self.apply(bytes))),
        }
    }

    /// A mail with everything replaced, in its encoded parts, in workbooks and in zip files too; None: it holds nothing.
    ///
    /// # Errors
    /// INTERNAL for a zip that cannot be written.
    pub fn apply_to_mail(&self, message: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let Some(parsed) = MessageParser::default().parse(message) else {
            return Ok(match self.apply(message) {
                Cow::Borrowed(_) => None,
                Cow::Owned(masked) => Some(masked),
            });
        };
        let mut out = message.to_vec();
        let mut changed = false;
        // From the last part to the first: what stands before keeps its place.
        for part in parsed.parts.iter().rev() {
            let content: &[u8] = match &part.body {
                PartType::Text(text) | PartType::Html(text) => text.as_bytes(),
                PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes,
                PartType::Message(_) | PartType::Multipart(_) => continue,
            };
            if let Some(masked) = self.apply_to_file(content)? {
                let [header, body, end] = [part.offset_header, part.offset_body, part.offset_end].map(|at| at as usize);
                replace_part(&mut out, header, body, end, &masked);
                changed = true;
            }
        }
        if let Cow::Owned(masked) = self.apply(&out) {
            return Ok(Some(masked));
        }
        Ok(changed.then_some(out))
    }

    /// A zip with everything replaced; one that cannot be unpacked is looked through as it lies.
    fn apply_to_zip(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let broken = |_| {
            Failure::new(
                Class::Internal,
                "a zip or workbook could not be written anew; run the same command again",
            )
        };
        let Some(parts) = unpacked(bytes) else {
            return Ok(owned(self.apply(bytes)));
        };
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(0o640);
        let (mut writer, mut changed) = (zip::ZipWriter::new(Cursor::new(Vec::new())), false);
        for (name, content) in parts {
            let masked = self.apply_to_file(&content)?;
            changed |= masked.is_some();
            writer.start_file(name, options).map_err(broken)?;
            writer
                .write_all(masked.as_ref().unwrap_or(&content))
                .map_err(|error| broken(error.into()))?;
        }
        let whole = writer.finish().map_err(broken)?.into_inner();
        Ok(changed.then_some(whole))
    }
}

/// What a zip and a workbook begin with.
const ZIP: &[u8] = b"PK\x03\x04";

/// Name and content of each part of a zip; None where it is none, or damaged.
fn unpacked(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
    let mut parts = Vec::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).ok()?;
        if file.is_dir() {
            continue;
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content).ok()?;
        parts.push((file.name().ok()?.into_owned(), content));
    }
    Some(parts)
}

/// A text as it stands between the quotes of a JSON string.
pub fn json_form(subject: &str) -> String {
    let quoted = serde_json::to_string(subject).unwrap_or_default();
    let inside = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inside.unwrap_or_default().to_owned()
}

fn owned(bytes: Cow<'_, [u8]>) -> Option<Vec<u8>> {
    match bytes {
        Cow::Borrowed(_) => None,
        Cow::Owned(bytes) => Some(bytes),
    }
}

/// Writes a part's content in base64 and says so in its headers.
fn replace_part(out: &mut Vec<u8>, header: usize, body: usize, end: usize, content: &[u8]) {
    const ENCODING: &str = "content-transfer-encoding:";
    let headers = String::from_utf8_lossy(out.get(header..body).unwrap_or_default()).into_owned();
    let mut written = String::new();
    for line in headers.split_inclusive("\r\n") {
        let is = line
            .get(..ENCODING.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(ENCODING));
        written.push_str(if is {
            "Content-Transfer-Encoding: base64\r\n"
        } else {
            line
        });
    }
    if !headers.to_ascii_lowercase().contains(ENCODING) {
        written.insert_str(0, "Content-Transfer-Encoding: base64\r\n");
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(content);
    for line in encoded.as_bytes().chunks(76) {
        written.push_str(&String::from_utf8_lossy(line));
        written.push_str("\r\n");
    }
    let end = end.min(out.len()).max(header);
    out.splice(header..end, written.into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mail as this program composes them: a text in quoted-printable, a CSV and a zip in base64.
    fn mail(content: &str) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a.csv", zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(content.as_bytes()).unwrap();
        let zip = zip.finish().unwrap().into_inner();
        let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let (csv, zip) = (encode(content.as_bytes()), encode(&zip));
        format!(
            "From: a@example.com\r\nSubject: [reconciled] x\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
             Hello Mar=C3=ADa Qui=\r\nspe, bye\r\n--=_b\r\n\
             Content-Disposition: attachment; filename=\"a.csv\"\r\nContent-Type: text/csv\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{csv}\r\n--=_b\r\n\
             Content-Disposition: attachment; filename=\"a.zip\"\r\nContent-Type: application/zip\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{zip}\r\n--=_b--\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn a_mail_is_masked_in_every_part_and_stays_the_mail_it_was() {
        let pairs = Pairs::of("María Quispe", "erased-1");
        let masked = pairs.apply_to_mail(&mail("x,María Quispe,1\r\n")).unwrap().unwrap();
        let parsed = MessageParser::default().parse(&masked).unwrap();
        assert_eq!(parsed.subject(), Some("[reconciled] x"));
        assert_eq!(parsed.body_text(0).unwrap().trim_end(), "Hello erased-1, bye");
        let attachments: Vec<&[u8]> = parsed.attachments().map(|part| part.contents()).collect();
        assert_eq!(attachments[0], b"x,erased-1,1\r\n");
        let mut zip = zip::ZipArchive::new(Cursor::new(attachments[1])).unwrap();
        let mut text = String::new();
        zip.by_index(0).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "x,erased-1,1\r\n");
        assert_eq!(parsed.attachments().count(), 2);
        assert_eq!(Pairs::of("nobody here", "x").apply_to_mail(&masked).unwrap(), None);
    }

    #[test]
    fn a_text_is_found_in_every_form_that_files_give_it() {
        let pairs = Pairs::of("Ann \"A\" O'Neil & Co/1", "erased-1");
        for form in [
            "Ann \"A\" O'Neil & Co/1",
            "Ann \"\"A\"\" O'Neil & Co/1",
            "Ann &quot;A&quot; O&#x27;Neil &amp; Co&#x2f;1",
            "Ann \\\"A\\\" O'Neil & Co/1",
            "Ann%20%22A%22%20O%27Neil%20%26%20Co%2F1",
        ] {
            let text = format!("<{form}>");
            assert_eq!(pairs.apply(text.as_bytes()), b"<erased-1>".as_slice(), "{form}");
        }
        assert_eq!(json_form("M\""), "M\\\"");
    }
}
