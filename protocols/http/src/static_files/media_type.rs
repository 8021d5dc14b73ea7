//! What a file is, by the end of its name.

use std::borrow::Cow;
use std::path::Path;

/// Where nobody knows better (RFC 2046 §4.5.1): browsers offer to save it.
const UNKNOWN: &str = "application/octet-stream";

/// The Content-Type of the file called so. Text is taken to be UTF-8, as nearly all is by now; `own` are
/// types by extension (in lower case) that go before the usual ones.
pub(super) fn media_type(path: &Path, own: &[(String, String)]) -> Cow<'static, str> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_same = |(named, _): &&(String, String)| named.eq_ignore_ascii_case(extension);
    if let Some((_, own)) = own.iter().find(is_same).filter(|_| !extension.is_empty()) {
        return own.clone().into();
    }
    match mime_guess::from_ext(extension).first_raw() {
        None => UNKNOWN.into(),
        Some("application/javascript") => "text/javascript; charset=utf-8".into(), // RFC 9239
        Some(text) if text.starts_with("text/") => format!("{text}; charset=utf-8").into(),
        Some(other) => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_in_what_it_is() {
        for (name, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.CSS", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("data.json", "application/json"),
            ("app.webmanifest", "application/manifest+json"),
            ("image.svg", "image/svg+xml"),
            ("image.avif", "image/avif"),
            ("image.webp", "image/webp"),
            ("font.woff2", "font/woff2"),
            ("code.wasm", "application/wasm"),
            ("film.mp4", "video/mp4"),
            ("archive.tar.gz", "application/gzip"),
            ("README", UNKNOWN),
            (".profile", UNKNOWN),
            ("what.ever", UNKNOWN),
        ] {
            assert_eq!(media_type(Path::new(name), &[]), expected, "{name}");
        }
        let own = [("ever".to_owned(), "text/x-ever".to_owned())];
        assert_eq!(media_type(Path::new("what.EVER"), &own), "text/x-ever");
        assert_eq!(media_type(Path::new("what"), &own), UNKNOWN);
    }
}
