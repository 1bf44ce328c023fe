//! A strict reader of the HTML we write: every element closed in order, every attribute quoted and said once, nothing bare.

#![allow(dead_code)] // Each test binary uses its own part of it.

const VOID: [&str; 6] = ["meta", "img", "br", "rect", "input", "link"];

/// Every start tag with its attributes, in order. Panics where the text is not well formed.
pub fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut rest = html.strip_prefix("<!doctype html>").expect("the page says what it is");
    let (mut open, mut found): (Vec<String>, _) = (Vec::new(), Vec::new());
    while let Some(start) = rest.find('<') {
        assert!(
            !rest[..start].contains('>'),
            "a bare > in {:?}",
            &rest[..start.min(200)]
        );
        let inside = &rest[start + 1..];
        if let Some(comment) = inside.strip_prefix("!--") {
            rest = &comment[comment.find("-->").expect("a comment ends") + 3..];
            continue;
        }
        let end = end_of_tag(inside);
        let tag = &inside[..end];
        rest = &inside[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(
                open.pop().as_deref(),
                Some(name),
                "closed out of order before {:?}",
                near(rest)
            );
            continue;
        }
        let (name, attributes) = element(tag.trim_end_matches('/'));
        if matches!(name.as_str(), "script" | "style") {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).expect("it is closed") + close.len()..];
        } else if !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        found.push((name, attributes));
    }
    assert_eq!(open, Vec::<String>::new(), "left open");
    found
}

fn near(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The `>` that is in no attribute.
fn end_of_tag(text: &str) -> usize {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return at,
            '<' if !quoted => panic!("a bare < in {:?}", near(text)),
            _ => {}
        }
    }
    panic!("a tag does not end: {:?}", near(text));
}

fn element(tag: &str) -> (String, Vec<(String, String)>) {
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()), "{tag:?}");
    let mut attributes: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return (name.to_owned(), attributes);
        }
        let length = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let key = rest[..length].to_owned();
        assert!(
            key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !key.starts_with("on"),
            "{key:?} in {tag:?}"
        );
        rest = &rest[length..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let end = quoted.find('"').expect("a quote is closed");
            value = quoted[..end].to_owned();
            rest = &quoted[end + 1..];
        } else {
            assert!(!rest.starts_with('='), "{key} is not quoted in {tag:?}");
        }
        assert!(
            attributes.iter().all(|(other, _)| *other != key),
            "{key} twice in {tag:?}"
        );
        attributes.push((key, value));
    }
}

/// The value of an attribute on every element that has it.
pub fn values(html: &str, attribute: &str) -> Vec<String> {
    let all = tags(html).into_iter().flat_map(|(_, attributes)| attributes);
    all.filter(|(key, _)| key == attribute)
        .map(|(_, value)| value)
        .collect()
}
