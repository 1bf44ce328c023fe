//! How CSVs for people are written in their country: decimal sign, and the separator a spreadsheet there expects.

use super::Locale;
use super::section::nearest;

/// Languages and regions whose spreadsheets use the decimal point and the comma as separator.
const POINT: &[&str] = &[
    "en", "de-CH", "en-AU", "en-CA", "en-GB", "en-IE", "en-IN", "en-NZ", "en-US", "es-GT", "es-HN", "es-MX", "es-NI",
    "es-PA", "es-PE", "es-PR", "es-SV", "es-US", "he", "ja", "ko", "ms", "th", "zh",
];

/// Those with the decimal comma and the semicolon.
const COMMA: &[&str] = &[
    "bg", "cs", "da", "de", "de-AT", "el", "es", "es-AR", "es-CL", "es-CO", "es-ES", "et", "fi", "fr", "fr-CA", "hr",
    "hu", "id", "it", "lt", "lv", "nb", "nl", "nl-BE", "pl", "pt", "pt-BR", "ro", "ru", "sk", "sl", "sv", "tr", "uk",
    "vi",
];

/// The locale of a name; its case does not matter.
///
/// # Errors
/// A sentence with the nearest name.
pub fn find(name: &str) -> Result<Locale, String> {
    let among = |names: &[&'static str]| names.iter().copied().find(|known| known.eq_ignore_ascii_case(name));
    if let Some(name) = among(POINT) {
        return Ok(Locale {
            name,
            decimal: '.',
            separator: ',',
        });
    }
    if let Some(name) = among(COMMA) {
        return Ok(Locale {
            name,
            decimal: ',',
            separator: ';',
        });
    }
    let near = nearest(name, POINT.iter().chain(COMMA).copied());
    Err(format!(
        "is {name:?}; it must be a language like en, de, es, fr or a region like es-PE{near}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_comma_is_decimal_the_semicolon_separates() {
        for (name, decimal, separator) in [
            ("en", '.', ','),
            ("de", ',', ';'),
            ("ES", ',', ';'),
            ("es-pe", '.', ','),
        ] {
            let locale = find(name).unwrap();
            assert_eq!((locale.decimal, locale.separator), (decimal, separator), "{name}");
        }
        assert!(find("ed").unwrap_err().contains("did you mean"));
    }

    #[test]
    fn no_name_stands_in_both_tables() {
        assert!(POINT.iter().all(|name| !COMMA.contains(name)));
        assert!(POINT.iter().chain(COMMA).all(|name| find(name).unwrap().name == *name));
    }
}
