//! A view of the night -> the bytes of one mail for one recipient. Pure: no clock (the date is the as-of instant), no
//! chance (the boundaries follow from the Message-ID), so that the same night gives the same bytes.
//!
//! No text of a provider or a ledger reaches a header: subject and names are made of the verdict, counts, the job's name
//! and the day. Bodies go through the template engine; everything in a mail is plain ASCII on the wire.

use std::io::Write as _;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Mailbox, Message, MultiPart, SinglePart};
use minijinja::{Environment, context};
use sha2::{Digest, Sha256};

use super::picture::{HEIGHT, SLOT};
use crate::day::Instant;
use crate::failure::{Class, Failure};
use crate::report::view::View;
use crate::report::{Produced, words};

/// Everything about one mail that is not the night itself.
pub(super) struct Envelope<'a> {
    pub from: &'a Mailbox,
    pub to: &'a Mailbox,
    pub ids: &'a Ids,
    /// Message-ID of the mail about the same day that this one replaces.
    pub supersedes: Option<&'a str>,
    pub as_of: Instant,
    /// Open items night by night, as a PNG.
    pub picture: &'a [u8],
    /// Bytes of all files above which they are zipped.
    pub zip_above_bytes: usize,
    /// Bytes of the whole mail above which the files stay where they are.
    pub max_mail_bytes: usize,
}

/// The identity of one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    /// `<night.values@domain>`
    pub message_id: String,
    /// Digest of kind of news, job, business day, recipient and as-of: the same for every attempt and every repetition of the run.
    pub night: String,
    /// Digest of what the night says: a later as-of with the same values is no news.
    pub values: String,
    /// First of a thread that holds all mails about a job.
    pub root: String,
    pub domain: String,
}

impl Ids {
    pub(super) fn new(
        content: &str,
        job: &str,
        business_day: &str,
        recipient: &str,
        as_of: &str,
        values: &str,
        domain: &str,
    ) -> Self {
        let night = digest(&[content, job, business_day, recipient, as_of], 32);
        let values = values.get(..16).unwrap_or(values).to_owned();
        Self {
            message_id: format!("<{night}.{values}@{domain}>"),
            root: format!("<{}.root@{domain}>", digest(&["root", job], 32)),
            night,
            values,
            domain: domain.to_owned(),
        }
    }
}

/// The first hex digits of a SHA-256 over the parts, NUL between them.
pub(super) fn digest(parts: &[&str], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(digits);
    text
}

/// Reads an address of the settings or of a job file.
///
/// # Errors
/// CONFIG, without the address: control characters, no address, a non-ASCII address.
pub(super) fn mailbox(text: &str, what: &str) -> Result<Mailbox, Failure> {
    let refused = |why: &str| Failure::new(Class::Config, format!("{what} {why}; correct it in the settings"));
    if text.chars().any(char::is_control) {
        return Err(refused("holds control characters"));
    }
    let mailbox = Mailbox::from_str(text).map_err(|_| refused("is no mail address"))?;
    if !mailbox.email.to_string().is_ascii() {
        return Err(refused("is not plain ASCII"));
    }
    Ok(mailbox)
}

/// Composes the mail. Files are attached as they are, zipped, or left where they are, by the limits of the envelope.
///
/// # Errors
/// INTERNAL when a template or the message cannot be put together.
pub(super) fn compose(view: &View, envelope: &Envelope<'_>, files: &[Produced]) -> Result<Vec<u8>, Failure> {
    let whole: usize = files.iter().map(|file| file.bytes.len()).sum();
    let attempts: &[&str] = if whole > envelope.zip_above_bytes {
        &["zip", "none"]
    } else {
        &["files", "zip", "none"]
    };
    for carried in attempts {
        let attached = match *carried {
            "files" => files.to_vec(),
            "zip" => vec![zipped(view, files)?],
            _ => Vec::new(),
        };
        let message = put_together(view, envelope, carried, &attached)?;
        if message.len() <= envelope.max_mail_bytes || *carried == "none" {
            return Ok(message);
        }
    }
    Err(broken("no form of the mail was tried"))
}

fn put_together(
    view: &View,
    envelope: &Envelope<'_>,
    carried: &str,
    attached: &[Produced],
) -> Result<Vec<u8>, Failure> {
    let picture_id = format!("trend.{}@{}", envelope.ids.night, envelope.ids.domain);
    let (plain, html) = bodies(view, carried, envelope.supersedes.is_some(), &picture_id)?;
    let picture = Body::new_with_encoding(envelope.picture.to_vec(), ContentTransferEncoding::Base64)
        .map_err(|_| broken("the picture could not be encoded"))?;
    let kind = ContentType::parse("image/png").map_err(|_| broken("a content type was refused"))?;
    let boundary = |part: &str| format!("=_{}_{part}", envelope.ids.night);
    let mut mixed = MultiPart::mixed().boundary(boundary("mixed")).multipart(
        MultiPart::alternative()
            .boundary(boundary("text"))
            .singlepart(SinglePart::plain(plain))
            .multipart(
                MultiPart::related()
                    .boundary(boundary("html"))
                    .singlepart(SinglePart::html(html))
                    .singlepart(Attachment::new_inline(picture_id).body(picture, kind)),
            ),
    );
    for file in attached {
        mixed = mixed.singlepart(attachment(file)?);
    }
    let ids = envelope.ids;
    let references = match envelope.supersedes {
        Some(replaced) => format!("{} {replaced}", ids.root),
        None => ids.root.clone(),
    };
    let list = format!("<{}.reconciled.{}>", view.job, ids.domain);
    let mut builder = Message::builder()
        .from(envelope.from.clone())
        .to(envelope.to.clone())
        .subject(format!(
            "[reconciled] {} – {} {}",
            view.headline, view.job, view.business_day
        ))
        .date(system_time(envelope.as_of))
        .message_id(Some(ids.message_id.clone()))
        .in_reply_to(envelope.supersedes.unwrap_or(&ids.root).to_owned())
        .references(references)
        .header(AutoSubmitted("auto-generated".to_owned()))
        .header(SuppressAnswers("All".to_owned()))
        .header(ListId(list));
    if let Some(replaced) = envelope.supersedes {
        builder = builder.header(Supersedes(replaced.to_owned()));
    }
    let bytes = builder
        .multipart(mixed)
        .map_err(|_| broken("the headers were refused"))?
        .formatted();
    if !bytes.is_ascii() {
        return Err(broken("a part is not encoded"));
    }
    Ok(bytes)
}

/// Bytes above which a large mail program cuts the HTML off (102 KB), less some room for its own wrapping.
const HTML_BYTES: usize = 96_000;
/// Rows of one list in the HTML, until it is small enough; the text and the CSVs have more.
const HTML_ROWS: [usize; 5] = [60, 30, 15, 5, 0];

/// The two bodies from their templates.
fn bodies(view: &View, carried: &str, supersedes: bool, picture: &str) -> Result<(String, String), Failure> {
    let mut templates = Environment::new();
    // Lines that hold nothing but a tag leave no trace in the text.
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    templates.set_syntax(syntax.map_err(|_| broken("the template syntax was refused"))?);
    templates.add_filter("capital", |text: &str| words::capital(text));
    let render = |templates: &Environment<'_>, name: &str, most: usize| {
        let night = minijinja::Value::from(minijinja::value::Serde(view));
        let (slot, picture_height) = (SLOT, HEIGHT);
        templates
            .get_template(name)?
            .render(context! { carried, supersedes, picture, most, slot, picture_height, ..night })
    };
    let both = |templates: &mut Environment<'_>| {
        templates.add_template("letter.txt", include_str!("letter.txt"))?;
        templates.add_template("letter.html", include_str!("letter.html"))?;
        let text = render(templates, "letter.txt", usize::MAX)?;
        let mut html = String::new();
        for most in HTML_ROWS {
            html = render(templates, "letter.html", most)?;
            if html.len() <= HTML_BYTES {
                break;
            }
        }
        Ok((text, html))
    };
    // Only the kind: a template error's long form shows values.
    both(&mut templates).map_err(|error: minijinja::Error| broken(&format!("a template failed ({:?})", error.kind())))
}

/// Byte-exact: base64 whatever it holds. The names are ASCII already.
fn attachment(file: &Produced) -> Result<SinglePart, Failure> {
    let kind = if file.name.ends_with(".zip") {
        "application/zip"
    } else if file.name.ends_with(".xlsx") {
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    } else {
        "text/csv; charset=utf-8"
    };
    let kind = ContentType::parse(kind).map_err(|_| broken("a content type was refused"))?;
    let body = Body::new_with_encoding(file.bytes.clone(), ContentTransferEncoding::Base64)
        .map_err(|_| broken("a file could not be encoded"))?;
    Ok(Attachment::new(file.name.clone()).body(body, kind))
}

/// All files in one zip with a fixed time stamp: the same files give the same bytes.
fn zipped(view: &View, files: &[Produced]) -> Result<Produced, Failure> {
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o640);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let write = |zip: &mut zip::ZipWriter<_>| -> zip::result::ZipResult<()> {
        for file in files {
            zip.start_file(file.name.as_str(), options)?;
            zip.write_all(&file.bytes)?;
        }
        Ok(())
    };
    write(&mut zip).map_err(|_| broken("the files could not be zipped"))?;
    let bytes = zip
        .finish()
        .map_err(|_| broken("the files could not be zipped"))?
        .into_inner();
    Ok(Produced {
        name: format!("{}_{}.zip", view.business_day, view.job),
        bytes,
    })
}

/// The same mail without its attachments, under an id of its own (`….small@`), with a part that names what is missing.
/// None when it carries none. For a server that refuses the size: the first part of the frozen bytes stays as it is.
pub(super) fn without_attachments(message: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(message).ok()?;
    let (headers, body) = text.split_once("\r\n\r\n")?;
    let boundary = between(headers, "boundary=\"", "\"")?;
    let id = between(headers, "Message-ID: <", ">").or_else(|| between(headers, "Message-ID:\r\n <", ">"))?;
    let (local, domain) = id.split_once('@')?;
    let small = format!("{local}.small@{domain}");
    let delimiter = format!("\r\n--{boundary}");
    // The first part begins without a line end before its delimiter.
    let mut parts = body
        .strip_prefix("--")?
        .strip_prefix(boundary)?
        .split(delimiter.as_str());
    let first = parts.next()?;
    let names: Vec<&str> = parts.filter_map(|part| between(part, "filename=\"", "\"")).collect();
    if names.is_empty() || local.ends_with(".small") {
        return None;
    }
    let mut out = headers.replacen(id, &small, 1);
    out.push_str("\r\n\r\n--");
    out.extend([boundary, first, &delimiter]);
    out.push_str("\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n");
    out.push_str("NOT ATTACHED: the mail server refused this mail with its attachments as too large.\r\n");
    out.push_str("They lie in the folder that the text names:\r\n");
    for name in names {
        out.extend(["  ", name, "\r\n"]);
    }
    out.extend([delimiter.as_str(), "--\r\n"]);
    Some((format!("<{small}>"), out.into_bytes()))
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let start = text.find(before)? + before.len();
    let length = text[start..].find(after)?;
    Some(&text[start..start + length])
}

/// Seconds since 1970 as the type that lettre takes; nobody looks at a clock.
pub(super) fn system_time(at: Instant) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0))
}

fn broken(what: &str) -> Failure {
    Failure::new(Class::Internal, format!("the mail could not be composed: {what}"))
}

/// Declares a header whose value we make ourselves.
macro_rules! header {
    ($(#[$meta:meta])* $type:ident, $name:literal) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub(super) struct $type(pub(super) String);

        impl Header for $type {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($name)
            }

            fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Ok(Self(text.to_owned()))
            }

            fn display(&self) -> HeaderValue {
                HeaderValue::new(Self::name(), self.0.clone())
            }
        }
    };
}

header!(
    /// RFC 3834: no out-of-office answers.
    AutoSubmitted,
    "Auto-Submitted"
);
header!(
    /// The same for Exchange.
    SuppressAnswers,
    "X-Auto-Response-Suppress"
);
header!(
    /// RFC 2919: what mail programs sort by.
    ListId,
    "List-Id"
);
header!(
    /// RFC 2156: the mail that this one replaces.
    Supersedes,
    "Supersedes"
);
