//! The options of the HTTP server, and the sites that they make.

use std::fmt;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use ropewalk::Error;
use ropewalk::http::{
    AccessLog, Compression, Config, Echo, Handler, HandlerExt, ReverseProxy, Site, StaticFiles,
};
use serde::Deserialize;

use crate::policies::Policies;
use crate::privileges::Identity;
use crate::service::Listen;

/// Options of the HTTP server.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Listen on ADDRESS (repeatable) [default: tcp://127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<Listen>,
    /// Serve the files beneath DIR, instead of answering with the request
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The file that answers for its directory; repeatable, the first that is there
    /// [default: index.html]
    #[arg(long, value_name = "NAME", requires = "root")]
    index: Vec<String>,
    /// List what is in a directory without such a file
    #[arg(long, requires = "root")]
    listing: bool,
    /// Have the system send files from its cache by itself: less work, but everybody waits while it
    /// reads from a disk what is not there
    #[arg(long, requires = "root")]
    sendfile: bool,
    /// Have the server at URL answer, instead of answering with the request: `http://HOST:PORT`, or
    /// https, with a path that is put before each request's own
    #[arg(long, value_name = "URL", conflicts_with = "root")]
    proxy: Option<String>,
    /// Tell that server the host which the client asked for, not its own
    #[arg(long, requires = "proxy")]
    preserve_host: bool,
    /// Believe what clients say in X-Forwarded-For and Forwarded: they are proxies of one's own
    #[arg(long, requires = "proxy")]
    trust_forwarded: bool,
    /// Compress what becomes shorter, for clients that take it; with --root, FILE.br, FILE.zst and
    /// FILE.gz are sent for FILE if they are not older
    #[arg(long)]
    compress: bool,
    /// Write a line for each request to FILE, in the combined format; SIGHUP opens it anew
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// The largest body that is gathered before it is answered; larger ones are streamed
    /// [default: 1048576]
    #[arg(long, value_name = "BYTES")]
    max_body: Option<u64>,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) policies: Policies,
    /// Run on N threads, which share the addresses and nothing else [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    pub(crate) threads: Option<NonZeroUsize>,
}

/// Why the server cannot start.
#[derive(Debug)]
pub(crate) enum HttpError {
    Root { path: PathBuf, error: io::Error },
    NoDirectory { path: PathBuf },
    NoRoot { option: &'static str },
    NoProxy { option: &'static str },
    RootAndProxy,
    Proxy(Error),
    Index { name: String },
    Log(io::Error),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NoDirectory { path } => write!(f, "{}: it is no directory", path.display()),
            Self::NoRoot { option } => write!(f, "`{option}` goes with a `root`"),
            Self::NoProxy { option } => write!(f, "`{option}` goes with a `proxy`"),
            Self::RootAndProxy => {
                f.write_str("`root` and `proxy` exclude each other: make two services of them")
            }
            Self::Proxy(error) => write!(f, "proxy: {error}"),
            Self::Index { name } => write!(f, "{name:?}: an index is a name, without a path"),
            Self::Log(error) => write!(f, "{error}"), // it says which file
        }
    }
}

impl Http {
    /// Sees to it that the options fit together, and that the root is there.
    pub(crate) fn check(&self) -> Result<(), HttpError> {
        self.reverse_proxy()?;
        let Some(root) = &self.root else {
            return match (self.listing, self.index.is_empty()) {
                _ if self.sendfile => Err(HttpError::NoRoot { option: "sendfile" }),
                (true, _) => Err(HttpError::NoRoot { option: "listing" }),
                (_, false) => Err(HttpError::NoRoot { option: "index" }),
                _ => Ok(()),
            };
        };
        if let Some(name) = self.index.iter().find(|name| !is_name(name)) {
            return Err(HttpError::Index { name: name.clone() });
        }
        match fs::metadata(root) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(HttpError::NoDirectory { path: root.clone() }),
            Err(error) => Err(HttpError::Root { path: root.clone(), error }),
        }
    }

    /// Where requests are written down, if they are.
    pub(crate) fn log_path(&self) -> Option<&Path> {
        self.access_log.as_deref()
    }

    /// Opens the access log, if there is to be one. It is the user's whom root will go on as, who has
    /// to open it anew.
    pub(crate) fn open_log(
        &self,
        identity: Option<&Identity>,
    ) -> Result<Option<AccessLog>, HttpError> {
        let Some(path) = self.log_path() else { return Ok(None) };
        let opened = AccessLog::open(path).and_then(|log| {
            identity.map_or(Ok(()), |identity| identity.hand_over(path)).map(|()| log)
        });
        opened.map(Some).map_err(HttpError::Log)
    }

    /// Whether it answers with the request itself.
    pub(crate) fn is_echo(&self) -> bool {
        self.root.is_none() && self.proxy.is_none()
    }

    /// What is served.
    pub(crate) fn site(&self, log: Option<AccessLog>) -> Result<Site, HttpError> {
        let site = match (&self.root, self.reverse_proxy()?) {
            (_, Some(proxy)) => self.site_of(proxy),
            (Some(root), None) => self.site_of(self.files(root).precompressed(self.compress)),
            (None, None) => self.site_of(Echo),
        };
        let mut config = Config::default();
        if let Some(limit) = self.max_body {
            config = config.max_body(limit);
        }
        let site = site.config(config);
        Ok(match log {
            Some(log) => site.access_log(log),
            None => site,
        })
    }

    fn site_of(&self, handler: impl Handler) -> Site {
        if self.compress { Site::new(handler.with(Compression::new())) } else { Site::new(handler) }
    }

    fn reverse_proxy(&self) -> Result<Option<ReverseProxy>, HttpError> {
        let Some(url) = &self.proxy else {
            return match (self.preserve_host, self.trust_forwarded) {
                (true, _) => Err(HttpError::NoProxy { option: "preserve-host" }),
                (_, true) => Err(HttpError::NoProxy { option: "trust-forwarded" }),
                _ => Ok(None),
            };
        };
        if self.root.is_some() {
            return Err(HttpError::RootAndProxy);
        }
        let mut proxy = ReverseProxy::to(url).map_err(HttpError::Proxy)?;
        if self.preserve_host {
            proxy = proxy.preserve_host();
        }
        if self.trust_forwarded {
            proxy = proxy.trust_forwarded();
        }
        Ok(Some(proxy))
    }

    fn files(&self, root: &Path) -> StaticFiles {
        let files = StaticFiles::new(root).listing(self.listing).sendfile(self.sendfile);
        match &self.index[..] {
            [] => files,
            names => files.index(names.iter().cloned()),
        }
    }
}

fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains('/')
}
