//! From a request to the answer: everything that asks the file system, in one job of the pool. Nothing
//! here knows the loop or a connection.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::body::{Body, Next, content_range};
use super::conditions::{Conditions, Validators, Verdict};
use super::listing;
use super::media_type::media_type;
use super::path::{FilePath, is_hidden};
use super::range::{self, Ranges};
use super::tree::{FileTree, Metadata, Node, OpenFile};
use super::{LONGEST_LISTING, Options};
use crate::content_coding::{Accepted, Coding};
use crate::{LOG, Response, Status};

/// What is no longer than this is read at once, in the job that finds it: most of a site.
const SMALL: u64 = 64 * 1024;

/// Files next to another one that are that one, compressed, and what they end with.
const PRECOMPRESSED: [(Coding, &str); 3] =
    [(Coding::Brotli, ".br"), (Coding::Zstd, ".zst"), (Coding::Gzip, ".gz")];

/// What is asked for.
pub(super) struct Wanted {
    pub(super) is_head: bool,
    pub(super) path: FilePath,
    /// The whole path and the query, as they were sent: for redirections and listings.
    pub(super) target_path: String,
    pub(super) query: Option<String>,
    pub(super) conditions: Conditions,
    pub(super) accepted: Accepted,
    /// Nothing above the root can be listed.
    pub(super) now: SystemTime,
    /// Stands between the parts of a multipart response, and nowhere in a file.
    pub(super) boundary: [u8; 16],
}

/// What it is answered with.
pub(super) struct Answer {
    status: Status,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    content: Content,
}

/// What follows the head.
pub(super) enum Content {
    /// All of it is here.
    Whole(Bytes),
    /// As much as GET would bring, of which HEAD brings nothing.
    Length(u64),
    /// It begins with this, and the rest is still to be read.
    File { path: PathBuf, first: Bytes, rest: Body },
}

type Fields = Vec<(&'static str, Cow<'static, str>)>;

impl Answer {
    fn new(status: Status, fields: Fields, content: Content) -> Self {
        Self { status, fields, content }
    }

    /// A status with its own name as the text.
    fn page(status: Status) -> Self {
        let fields = vec![("Content-Type", "text/plain; charset=utf-8".into())];
        Self::new(status, fields, Content::Whole(format!("{status}\n").into()))
    }

    fn error(path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        Self::page(match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput => {
                Status::NOT_FOUND
            }
            ErrorKind::PermissionDenied => {
                log::info!(target: LOG, "{path}: {error}");
                Status::FORBIDDEN
            }
            _ => {
                log::warn!(target: LOG, "{path}: {error}");
                Status::INTERNAL_SERVER_ERROR
            }
        })
    }

    /// The response's head, and what follows it.
    pub(super) fn into_parts(self) -> (Response, Content) {
        let response = Response::new(self.status);
        let add = |response: Response, (name, value): (&str, Cow<'_, str>)| {
            response.header(name, value.as_bytes())
        };
        (self.fields.into_iter().fold(response, add), self.content)
    }
}

/// Finds the answer. It may block.
pub(super) fn answer(tree: &dyn FileTree, options: &Options, wanted: &Wanted) -> Answer {
    let path = wanted.path.relative();
    match tree.open(path) {
        Ok(Node::File(metadata, file)) if !wanted.path.names_directory() => {
            file_at(tree, options, wanted, Found { path: path.to_owned(), metadata, file })
        }
        Ok(Node::File(..) | Node::Other) => Answer::page(Status::NOT_FOUND),
        Ok(Node::Directory) if wanted.target_path.ends_with('/') => {
            directory(tree, options, wanted)
        }
        Ok(Node::Directory) => redirect(wanted),
        Err(error) => Answer::error(path, &error),
    }
}

/// A file that is open.
struct Found {
    path: PathBuf,
    metadata: Metadata,
    file: Arc<dyn OpenFile>,
}

/// The same path with a `/` at its end, so that what the page there links to is found.
fn redirect(wanted: &Wanted) -> Answer {
    // What begins with two slashes would be a host.
    let mut location = format!("/{}/", wanted.target_path.trim_start_matches('/'));
    if let Some(query) = &wanted.query {
        let _ = write!(location, "?{query}"); // a string takes everything
    }
    let fields = vec![("Location", location.into())];
    Answer::new(Status::MOVED_PERMANENTLY, fields, Content::Whole(Bytes::new()))
}

fn directory(tree: &dyn FileTree, options: &Options, wanted: &Wanted) -> Answer {
    let path = wanted.path.relative();
    for name in &options.index {
        let path = path.join(name);
        match tree.open(&path) {
            Ok(Node::File(metadata, file)) => {
                return file_at(tree, options, wanted, Found { path, metadata, file });
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Answer::error(&path, &error),
        }
    }
    if !options.listing {
        return Answer::page(Status::FORBIDDEN);
    }
    let mut entries = match tree.list(path, LONGEST_LISTING + 1) {
        Ok(entries) => entries,
        Err(error) => return Answer::error(path, &error),
    };
    let is_whole = entries.len() <= LONGEST_LISTING;
    entries.truncate(LONGEST_LISTING);
    entries.retain(|entry| options.hidden || !is_hidden(&entry.name));
    let is_top = path.as_os_str().is_empty();
    let page = listing::page(&wanted.target_path, entries, is_whole, is_top);
    let fields = vec![
        ("Content-Type", "text/html; charset=utf-8".into()),
        ("Content-Security-Policy", "default-src 'none'".into()),
        ("X-Content-Type-Options", "nosniff".into()),
    ];
    Answer::new(Status::OK, fields, Content::Whole(page.into()))
}

/// The answer for a file, as the conditions and ranges of the request have it.
fn file_at(tree: &dyn FileTree, options: &Options, wanted: &Wanted, found: Found) -> Answer {
    let media_type = media_type(&found.path, &options.media_types);
    let (found, coding) = match options.precompressed {
        true => representation(tree, wanted.accepted, found),
        false => (found, Coding::Identity),
    };
    let validators = Validators::new(&found.metadata, wanted.now);
    let mut fields = vec![
        ("ETag", validators.entity_tag().into()),
        ("Last-Modified", validators.last_modified().into()),
        ("Accept-Ranges", "bytes".into()),
        ("X-Content-Type-Options", "nosniff".into()),
    ];
    if let Some(directives) = &options.cache_control {
        fields.push(("Cache-Control", directives.clone().into()));
    }
    if options.precompressed {
        fields.push(("Vary", "Accept-Encoding".into()));
    }
    match wanted.conditions.check(&validators) {
        Verdict::Holds => {}
        Verdict::NotModified => {
            return Answer::new(Status::NOT_MODIFIED, fields, Content::Whole(Bytes::new()));
        }
        Verdict::Failed => return Answer::page(Status::PRECONDITION_FAILED),
    }
    if coding != Coding::Identity {
        fields.push(("Content-Encoding", coding.name().into()));
    }
    let length = found.metadata.length;
    // Of HEAD a range means nothing (RFC 9110 §14.2).
    let range = wanted.conditions.range(&validators).filter(|_| !wanted.is_head);
    let ranges = range.map_or(Ranges::Ignored, |range| range::resolve(range, length));
    let (status, body) = match ranges {
        Ranges::Ignored => {
            fields.push(("Content-Type", media_type));
            (Status::OK, Body::single(found.file, 0..length))
        }
        Ranges::Unsatisfiable => {
            let mut answer = Answer::page(Status::RANGE_NOT_SATISFIABLE);
            answer.fields.push(("Content-Range", format!("bytes */{length}").into()));
            return answer;
        }
        Ranges::Parts(parts) => {
            let body = match <[_; 1]>::try_from(parts) {
                Ok([range]) => {
                    fields.push(("Content-Range", content_range(&range, length).into()));
                    fields.push(("Content-Type", media_type));
                    Body::single(found.file, range)
                }
                Err(parts) => {
                    let boundary = format!("{:032x}", u128::from_be_bytes(wanted.boundary));
                    let several = format!("multipart/byteranges; boundary={boundary}");
                    fields.push(("Content-Type", several.into()));
                    Body::multipart(found.file, parts, length, &media_type, &boundary)
                }
            };
            (Status::PARTIAL_CONTENT, body)
        }
    };
    if wanted.is_head {
        return Answer::new(status, fields, Content::Length(body.length()));
    }
    match content(found.path.clone(), body) {
        Ok(content) => Answer::new(status, fields, content),
        Err(error) => Answer::error(&found.path, &error),
    }
}

/// The file, or what stands next to it in a coding that the client likes better. One that is older than
/// the file is of an earlier state of it.
fn representation(tree: &dyn FileTree, accepted: Accepted, original: Found) -> (Found, Coding) {
    let offered = PRECOMPRESSED.map(|(coding, _)| coding);
    for coding in accepted.choose(&offered) {
        let Some((_, ending)) = PRECOMPRESSED.iter().find(|(there, _)| *there == coding) else {
            continue;
        };
        let mut path = original.path.clone().into_os_string();
        path.push(ending);
        if let Ok(Node::File(metadata, file)) = tree.open(Path::new(&path))
            && metadata.modified >= original.metadata.modified
        {
            return (Found { path: path.into(), metadata, file }, coding);
        }
    }
    (original, Coding::Identity)
}

/// What is small is read; of all else the beginning is.
fn content(path: PathBuf, mut body: Body) -> io::Result<Content> {
    if body.length() <= SMALL {
        return body.read_all().map(Content::Whole);
    }
    let first = match body.next() {
        Some(Next::Ready(text)) => text,
        Some(Next::Read(reading)) => reading.run()?,
        None => Bytes::new(),
    };
    Ok(Content::File { path, first, rest: body })
}
