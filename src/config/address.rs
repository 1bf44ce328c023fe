//! Mail addresses as settings may name them: a strict part of RFC 5321, so that nothing surprising reaches a mail
//! server.
//!
//! ASCII only (a domain with other letters is written in its `xn--` form), no quoted local parts, no address literals.

/// Whether `text` is an address we would send to.
///
/// # Errors
/// What is wrong with it, to stand behind "the recipient … ".
pub fn check(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        return Err("contains a control character");
    }
    if !text.is_ascii() {
        return Err("contains letters outside ASCII; write the domain in its xn-- form");
    }
    if text.len() > 254 {
        return Err("is longer than 254 characters");
    }
    let Some((local, domain)) = text.rsplit_once('@') else {
        return Err("has no @");
    };
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let local_is_plain = local.len() <= 64 && local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom));
    if !local_is_plain {
        return Err("has no valid name before the @");
    }
    if !is_domain(domain) {
        return Err("has no valid domain behind the @");
    }
    Ok(())
}

/// A host name of letters, digits and hyphens with at least one dot, or `localhost`.
pub fn is_domain(text: &str) -> bool {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text == "localhost" || (text.len() <= 253 && text.contains('.') && text.split('.').all(label))
}

/// The address inside `Name <address>` or the bare address.
///
/// # Errors
/// What is wrong with it.
pub fn in_header_form(text: &str) -> Result<&str, &'static str> {
    if text.chars().any(char::is_control) {
        return Err("contains a control character");
    }
    let address = match text.split_once('<') {
        None => text,
        Some((name, rest)) => {
            // A name that would need quoting is refused rather than quoted: `from` is written once, by an operator.
            if name.contains(['"', '>', '@', ',', ';', ':', '\\', '(', ')', '[', ']']) {
                return Err("has a name with characters that mail headers reserve; use letters, digits and spaces");
            }
            rest.strip_suffix('>').ok_or("must look like `Name <address>`")?
        }
    };
    check(address).map(|()| address)
}

/// The domain of an address that [`check`] accepted, in lower case.
pub fn domain_of(address: &str) -> String {
    address
        .rsplit_once('@')
        .map_or(String::new(), |(_, domain)| domain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_addresses_are_accepted() {
        for good in [
            "a@b.co",
            "first.last+tag@sub.example.com",
            "root@localhost",
            "x@xn--bcher-kva.example",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b.co",
            "a@",
            "a@b",
            "a b@c.de",
            "a@b..co",
            ".a@b.co",
            "a.@b.co",
            "a@-b.co",
            "a@b.co\r\nBcc: x@y.z",
            "a@[127.0.0.1]",
            "\"a b\"@c.de",
            "a@b.co,c@d.ef",
            "<a@b.co>",
            "ü@b.co",
            "a@b.co\0",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_sender_may_have_a_name() {
        assert_eq!(
            in_header_form("Reconciliation <recon@example.com>"),
            Ok("recon@example.com")
        );
        assert_eq!(in_header_form("recon@example.com"), Ok("recon@example.com"));
        assert!(in_header_form("A, B <recon@example.com>").is_err());
        assert!(in_header_form("Recon <recon@example.com> x").is_err());
        assert!(in_header_form("Re\ncon <recon@example.com>").is_err());
    }

    proptest! {
        #[test]
        fn what_we_accept_the_mail_library_accepts_too(local in "[!-~]{1,20}", domain in "[a-z0-9.-]{1,30}") {
            let text = format!("{local}@{domain}");
            if check(&text).is_ok() {
                prop_assert!(text.parse::<lettre::Address>().is_ok(), "{text}");
            }
        }
    }
}
