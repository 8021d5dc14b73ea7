//! Files of a directory, or of another tree, served as a browser, a cache and a download manager want
//! them: with their type, validators, conditions and ranges.
//!
//! The one rule: the loop never waits for a disk. What a request asks for is found, opened and, if it is
//! small, read in one job of the thread pool; what is large follows piece by piece, as fast as the client
//! takes it.

mod answer;
mod body;
mod conditions;
mod directory;
mod listing;
mod media_type;
mod memory;
mod path;
mod producer;
mod range;
#[cfg(test)]
mod tests;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;

use ropewalk_reactor::{Error, Result};

use self::answer::{Answer, Content, Wanted, answer};
use self::conditions::Conditions;
pub use self::directory::Directory;
pub use self::memory::MemoryTree;
use self::path::{FilePath, Refusal};
use self::producer::Producer;
pub use self::tree::{Entry, FileTree, Metadata, Node, OpenFile};
use crate::content_coding::Accepted;
use crate::{Exchange, Handler, Intake, LOG, Method, Reply, Request, Response, Status};

/// A listing has no more entries than this: a page of 2 MiB.
const LONGEST_LISTING: usize = 10_000;
/// How long a client shall wait that found the thread pool full, in seconds.
const RETRY_AFTER: &str = "1";

/// Serves the files of a tree.
///
/// ```no_run
/// use ropewalk_http::{Site, StaticFiles};
/// use ropewalk_reactor::Reactor;
///
/// # fn main() -> ropewalk_reactor::Result {
/// let mut reactor = Reactor::new()?;
/// reactor.listen("127.0.0.1:8080", Site::new(StaticFiles::new("/srv/www")))?;
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
///
/// GET and HEAD bring what the path names beneath the root (405 for all else, RFC 9110 §15.5.6), a
/// directory's `index.html` where there is one. Responses have ETag and Last-Modified, and follow
/// conditions (§13) and ranges of bytes (§14). Nothing is kept: each request sees the tree as it is.
///
/// What is not there is 404: so are paths with `..` or `//` in them, with an encoded `/`, `\` or NUL,
/// files whose name begins with a dot (but for `/.well-known`, RFC 8615), links that lead out of the root,
/// and whatever is neither file nor directory.
///
/// A file that is replaced (by a rename) while it is sent goes out as it was; one that is written to in
/// place goes out in parts of both, and if it becomes shorter, the connection is cut, and the log says so.
#[derive(Clone)]
#[doc(alias = "File")]
pub struct StaticFiles {
    tree: Arc<dyn FileTree>,
    options: Arc<Options>,
}

/// What can be set.
#[derive(Clone)]
struct Options {
    index: Vec<String>,
    listing: bool,
    hidden: bool,
    precompressed: bool,
    sendfile: bool,
    cache_control: Option<String>,
    /// By extension, in lower case.
    media_types: Vec<(String, String)>,
}

impl StaticFiles {
    /// The files beneath `root`, symbolic links followed as far as they stay there; see [`Directory`].
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::of(Directory::new(root))
    }

    /// The files of another tree.
    pub fn of(tree: impl FileTree) -> Self {
        let options = Options {
            index: vec!["index.html".to_owned()],
            listing: false,
            hidden: false,
            precompressed: false,
            sendfile: false,
            cache_control: None,
            media_types: Vec::new(),
        };
        Self { tree: Arc::new(tree), options: Arc::new(options) }
    }

    /// The file that answers for its directory (`index.html`): the first of these that is there. Each is
    /// a name, without a path.
    #[must_use]
    pub fn index<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.with(|options| options.index = names)
    }

    /// Whether the system sends what is large by itself, from its cache into the socket (no). It takes a
    /// fraction of the processor's time; but when the bytes are not in its cache, the loop, and with it
    /// everybody else, waits for the disk. For files that fit into memory, or a disk that is fast. What
    /// is compressed on the way, and with TLS, is read all the same. See
    /// [`Transport::write_file`](ropewalk_reactor::Transport::write_file).
    #[must_use]
    pub fn sendfile(self, sendfile: bool) -> Self {
        self.with(|options| options.sendfile = sendfile)
    }

    /// Whether a directory without an index is answered with a list of what is in it (no): the first
    /// 10,000 entries. Without, it is 403.
    #[must_use]
    pub fn listing(self, listing: bool) -> Self {
        self.with(|options| options.listing = listing)
    }

    /// Whether files are served, and listed, whose name begins with a dot (no): they are seldom meant
    /// to be seen (`.git`, `.env`).
    #[must_use]
    pub fn hidden(self, hidden: bool) -> Self {
        self.with(|options| options.hidden = hidden)
    }

    /// Whether `style.css.br`, `.zst` or `.gz` is sent for `style.css` (no) to a client that takes it:
    /// what is compressed once need not be for each request. One that is older than its file is not
    /// taken. It costs a look at the tree for each coding that the client takes.
    #[must_use]
    pub fn precompressed(self, precompressed: bool) -> Self {
        self.with(|options| options.precompressed = precompressed)
    }

    /// The Cache-Control field of files (none; then caches ask after a time of their own choosing,
    /// RFC 9111 §4.2.2): `no-cache` lets them keep a file and ask each time whether it is the same,
    /// `max-age=31536000, immutable` suits names that hold a hash of what is in the file.
    #[must_use]
    pub fn cache_control(self, directives: impl Into<String>) -> Self {
        let directives = directives.into();
        self.with(|options| options.cache_control = Some(directives))
    }

    /// The Content-Type of files with this extension (in any case), instead of the usual one.
    #[must_use]
    pub fn media_type(self, extension: &str, media_type: impl Into<String>) -> Self {
        let named = (extension.to_ascii_lowercase(), media_type.into());
        self.with(|options| options.media_types.insert(0, named))
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }
}

impl Handler for StaticFiles {
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        if !is_served(request) {
            return Ok(not_allowed().into());
        }
        let path = match FilePath::parse(request.remaining_path(), self.options.hidden) {
            Ok(path) => path,
            Err(Refusal::Malformed) => return Ok(Status::BAD_REQUEST.into()),
            Err(Refusal::NoName) => return Ok(Status::NOT_FOUND.into()),
        };
        let mut boundary = [0; 16];
        if request.headers().get("range").is_some_and(|range| range.contains(&b',')) {
            exchange.transport().random(&mut boundary)?;
        }
        let wanted = Wanted {
            is_head: request.method() == Method::Head,
            path,
            target_path: request.path().to_owned(),
            query: request.query().map(str::to_owned),
            conditions: Conditions::of(request.headers()),
            accepted: Accepted::of(request.headers()),
            now: exchange.transport().wall_clock(),
            boundary,
        };
        let (tree, options) = (self.tree.clone(), self.options.clone());
        let found = exchange.transport().defer_to_thread(move || answer(&*tree, &options, &wanted));
        let sendfile = self.options.sendfile;
        exchange.when(found, move |exchange, answer| respond(exchange, answer, sendfile));
        Ok(Reply::Later)
    }

    fn body_expected(&mut self, request: &Request, _: &mut Exchange<'_>) -> Result<Intake> {
        // A body of GET means nothing (RFC 9110 §9.3.1); it is gathered, and let go.
        Ok(if is_served(request) { Intake::Gather } else { Intake::Refuse(not_allowed()) })
    }
}

fn is_served(request: &Request) -> bool {
    matches!(request.method(), Method::Get | Method::Head)
}

fn not_allowed() -> Response {
    Response::status(Status::METHOD_NOT_ALLOWED).header("Allow", "GET, HEAD")
}

/// The job is done.
fn respond(exchange: &mut Exchange<'_>, answer: Result<Answer, Error>, sendfile: bool) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            log::warn!(target: LOG, "a file could not be looked for: {error}");
            let response = Response::status(Status::SERVICE_UNAVAILABLE);
            return exchange.respond(response.header("Retry-After", RETRY_AFTER));
        }
    };
    let (response, content) = answer.into_parts();
    match content {
        Content::Whole(body) => exchange.respond(response.body(body)),
        Content::Length(length) => {
            exchange.start(response, Some(length));
            exchange.finish();
        }
        Content::File { path, first, rest } => {
            exchange.start(response, Some(first.len() as u64 + rest.length()));
            exchange.hand_over(Box::new(Producer::new(path, first, rest, sendfile)));
        }
    }
}
