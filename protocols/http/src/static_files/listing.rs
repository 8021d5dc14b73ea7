//! A page that lists what is in a directory.
//!
//! The one rule: names are whatever somebody called a file. They are escaped for HTML where they are
//! shown, and percent-encoded where they are links.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::tree::Entry;
use crate::date::of_four_digits;

/// What stays as it is in a link: what RFC 3986 §2.3 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The page. `path` is the request's, still encoded; `is_whole` is false if there is more than
/// `entries`, `is_top` is true where there is nothing above.
pub(super) fn page(path: &str, mut entries: Vec<Entry>, is_whole: bool, is_top: bool) -> String {
    entries.sort_by(|one, other| {
        (!one.is_directory, &one.name).cmp(&(!other.is_directory, &other.name))
    });
    let shown: String = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into();
    let title = format!("Index of {}", Escaped(&shown));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n</head>\n\
         <body>\n<h1>{title}</h1>\n<table>\n<tr><th>Name</th><th>Size</th><th>Modified</th></tr>\n"
    );
    if !is_top {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for entry in &entries {
        row(&mut page, entry);
    }
    page.push_str("</table>\n");
    if !is_whole {
        page.push_str("<p>There is more than is shown.</p>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn row(page: &mut String, entry: &Entry) {
    let slash = if entry.is_directory { "/" } else { "" };
    let link = percent_encode(entry.name.as_bytes(), ENCODED);
    let name = OsStr::to_string_lossy(&entry.name);
    let size = if entry.is_directory { String::new() } else { entry.length.to_string() };
    let modified = httpdate::fmt_http_date(of_four_digits(entry.modified));
    // `./`, lest a name with a colon be taken for a scheme. Writing to a string does not fail.
    let _ = writeln!(
        page,
        "<tr><td><a href=\"./{link}{slash}\">{}{slash}</a></td><td>{size}</td><td>{modified}</td></tr>",
        Escaped(&name)
    );
}

/// Text in HTML, between tags or in a quoted attribute.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn entry(name: &[u8], is_directory: bool) -> Entry {
        let modified = SystemTime::UNIX_EPOCH;
        Entry { name: OsStr::from_bytes(name).to_owned(), is_directory, length: 5, modified }
    }

    #[test]
    fn names_cannot_leave_their_place_and_links_lead_to_what_they_name() {
        let entries = vec![
            entry(b"b\"><script>&'.txt", false),
            entry(b"javascript:alert(1)", false),
            entry(b"a b?c#d%e\xff", false),
            entry(b"z", true),
        ];
        let page = page("/x/%3Cscript%3E/", entries, true, false);
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("<title>Index of /x/&lt;script&gt;/</title>"), "{page}");
        let links: Vec<_> = page
            .split("href=\"")
            .skip(1)
            .filter_map(|rest| rest.split_once('"').map(|(link, _)| link))
            .collect();
        assert_eq!(
            links,
            [
                "../",
                "./z/",
                "./a%20b%3Fc%23d%25e%FF",
                "./b%22%3E%3Cscript%3E%26%27.txt",
                "./javascript%3Aalert%281%29",
            ],
            "directories first, then by name"
        );
        assert!(
            page.contains(">b&quot;&gt;&lt;script&gt;&amp;&#39;.txt</a></td><td>5</td>"),
            "{page}"
        );
        assert!(page.contains(">z/</a></td><td></td>"), "{page}");
    }
}
