//! Which file of a tree a request's path names. No file system is asked here.
//!
//! The one rule: what comes out is relative and has nothing but names in it, so that it cannot lead out
//! of the tree but by a symbolic link, which whoever opens it sees to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The first segment that is served although it begins with a dot (RFC 8615): what is in there is
/// put there to be read.
const WELL_KNOWN: &[u8] = b".well-known";

/// A path within a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePath {
    relative: PathBuf,
    /// It ends with `/`: a directory is meant.
    names_directory: bool,
}

/// Why a path names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `%` without two hexadecimal digits behind it (RFC 3986 §2.1).
    Malformed,
    /// A segment that no file of a tree has: `..` and `.` in any encoding, none at all (`//`), one with
    /// `/`, `\` or NUL in it; or a hidden one. It is answered like all that is not there, so that nobody
    /// can tell which it was.
    NoName,
}

impl FilePath {
    /// Takes a path apart that begins with `/`, decoding each segment once. `with_hidden`: whether
    /// segments may begin with a dot.
    pub(super) fn parse(path: &str, with_hidden: bool) -> Result<Self, Refusal> {
        let Some(rest) = path.strip_prefix('/') else { return Err(Refusal::NoName) };
        let (rest, names_directory) = match rest.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (rest, rest.is_empty()),
        };
        let mut relative = PathBuf::new();
        if rest.is_empty() && path != "/" {
            return Err(Refusal::NoName); // `//`
        }
        for (at, segment) in rest.split('/').filter(|_| !rest.is_empty()).enumerate() {
            let name = decode(segment.as_bytes()).ok_or(Refusal::Malformed)?;
            let is_hidden = name.starts_with(b".");
            let is_shown = with_hidden || !is_hidden || (at == 0 && name == WELL_KNOWN);
            if !is_name(&name) || !is_shown {
                return Err(Refusal::NoName);
            }
            relative.push(OsStr::from_bytes(&name));
        }
        Ok(Self { relative, names_directory })
    }

    /// Where the file is, seen from the root of the tree; empty for the root itself.
    pub(super) fn relative(&self) -> &Path {
        &self.relative
    }

    /// Whether a directory is meant.
    pub(super) fn names_directory(&self) -> bool {
        self.names_directory
    }
}

/// Whether a name is hidden, as `ls` has it.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// Whether a file may be called so. A backslash is a separator to others who read the path: proxies
/// that were written on Windows, browsers.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && !name.iter().any(|byte| matches!(byte, b'/' | b'\\' | b'\0'))
}

/// Decodes what is percent-encoded, once; `None` if a `%` has no two digits.
fn decode(segment: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = char::from(*bytes.next()?).to_digit(16)?;
                let low = char::from(*bytes.next()?).to_digit(16)?;
                (high * 16 + low) as u8 // at most 255
            }
            other => other,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    fn relative(path: &str) -> Result<PathBuf, Refusal> {
        FilePath::parse(path, false).map(|path| path.relative)
    }

    #[test]
    fn segments_are_decoded_once_and_a_slash_at_the_end_means_a_directory() {
        for (path, expected, is_directory) in [
            ("/", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a/b.txt", "a/b.txt", false),
            ("/a%20b/%c3%a9", "a b/\u{e9}", false),
            ("/%2561", "%61", false),
            ("/a:b;c=d+e", "a:b;c=d+e", false),
            ("/...", "...", false),
            ("/.well-known/security.txt", ".well-known/security.txt", false),
        ] {
            let found = FilePath::parse(path, path == "/...").expect(path);
            assert_eq!(found.relative(), Path::new(expected), "{path}");
            assert_eq!(found.names_directory(), is_directory, "{path}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_names_nothing() {
        for path in [
            "",
            "a",
            "*",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/%2e",
            "/%2e%2E",
            "/.%2e/a",
            "/%2e./a",
            "/a%2fb",
            "/a%2Fb",
            "/..%2f..%2fetc",
            "/a\\b",
            "/a%5cb",
            "/..%5c",
            "/a%00",
            "/%00",
            "/.git/config",
            "/a/.htaccess",
            "/%2egit",
            "/a/.well-known",
        ] {
            assert_eq!(relative(path), Err(Refusal::NoName), "{path}");
        }
        for path in ["/%", "/%2", "/a%zz", "/%+1", "/%2/", "/a%"] {
            assert_eq!(relative(path), Err(Refusal::Malformed), "{path}");
        }
        let hidden = FilePath::parse("/.git/config", true).map(|path| path.relative);
        assert_eq!(hidden, Ok(PathBuf::from(".git/config")));
        assert_eq!(FilePath::parse("/a/..", true), Err(Refusal::NoName));
    }

    proptest! {
        /// Whatever is asked for, what comes out has nothing but names in it.
        #[test]
        fn nothing_but_names_comes_out(path in "(/|%2f|%2e|\\.|%5c|\\\\|%25|%00|a|\u{e9}|%){0,12}") {
            for with_hidden in [false, true] {
                if let Ok(found) = FilePath::parse(&path, with_hidden) {
                    let all_names = found.relative().components().all(|part| {
                        matches!(part, Component::Normal(name)
                            if (with_hidden || !is_hidden(name)) && !name.as_bytes().contains(&b'\\'))
                    });
                    prop_assert!(all_names && !found.relative().is_absolute());
                    let depth = found.relative().components().count();
                    prop_assert_eq!(depth, path.split('/').filter(|part| !part.is_empty()).count());
                }
            }
        }
    }
}
