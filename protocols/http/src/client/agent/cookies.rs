//! Cookies (RFC 6265): what servers asked to be told again.
//!
//! The rule: a cookie goes only where its server could have been asked for it, and never over http when
//! it is for https. What is kept is bounded, by host and in all.

mod date;

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use url::Url;

/// RFC 6265 §6.1: at least 50 for a domain, 3000 in all, 4096 bytes each.
const MAX_PER_DOMAIN: usize = 50;
const MAX_COOKIES: usize = 3000;
const MAX_LENGTH: usize = 4096;
/// Nobody needs a cookie for longer (RFC 6265bis §5.5): 400 days.
const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 3600);

/// One cookie, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The host that it is for.
    pub domain: String,
    /// Whether it is for this host alone, and not for all below it.
    pub host_only: bool,
    /// Where its paths begin.
    pub path: String,
    /// Until when it is kept; `None` for as long as the jar is.
    pub expires: Option<SystemTime>,
    /// Whether it is for https alone.
    pub secure: bool,
}

/// Cookies; clones are the same jar. A client with one sends and keeps them by itself.
///
/// **Public suffixes.** Whoever is `a.co.uk` may set a cookie for `co.uk`, and so for all of its
/// neighbours, unless the jar knows that `co.uk` belongs to nobody. That list is long and changes
/// weekly, so none is built in: only domains of one label (`uk`) are refused. A program that sends
/// cookies to servers that do not trust each other gives the jar a list, with
/// [`public_suffixes`](Self::public_suffixes).
#[derive(Clone, Default)]
pub struct CookieJar {
    inner: Rc<RefCell<Inner>>,
}

/// Says whether a domain is a public suffix.
type Judge = Box<dyn Fn(&str) -> bool>;

#[derive(Default)]
struct Inner {
    /// In the order in which they were first set.
    cookies: Vec<Cookie>,
    is_public_suffix: Option<Judge>,
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a jar of {} cookies", self.len()) // their values are secrets
    }
}

impl CookieJar {
    /// An empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `is_one` whether a domain is a public suffix, under which strangers have names: no cookie
    /// is taken for all of those.
    #[must_use]
    pub fn public_suffixes(self, is_one: impl Fn(&str) -> bool + 'static) -> Self {
        self.inner.borrow_mut().is_public_suffix = Some(Box::new(is_one));
        self
    }

    /// Takes what `url` said in a Set-Cookie field, if it may say so. `false` if it may not.
    pub fn set(&self, url: &str, set_cookie: &str, now: SystemTime) -> bool {
        Url::parse(url).is_ok_and(|url| self.keep(&url, set_cookie, now))
    }

    /// What is sent to `url` in a Cookie field; `None` if there is nothing to send.
    pub fn header(&self, url: &str, now: SystemTime) -> Option<String> {
        self.for_url(&Url::parse(url).ok()?, now)
    }

    /// All cookies, to be saved, say; those that have expired may be among them.
    pub fn cookies(&self) -> Vec<Cookie> {
        self.inner.borrow().cookies.clone()
    }

    /// Puts a cookie in as it is, unasked: one that was saved, say.
    pub fn insert(&self, cookie: Cookie) {
        self.inner.borrow_mut().insert(cookie);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inner.borrow().cookies.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.inner.borrow_mut().cookies.clear();
    }

    pub(super) fn keep(&self, url: &Url, set_cookie: &str, now: SystemTime) -> bool {
        let mut inner = self.inner.borrow_mut();
        let Some(cookie) = inner.judge(url, set_cookie, now) else { return false };
        if url.scheme() != "https" && inner.cookies.iter().any(|other| other.is_guarded(&cookie)) {
            return false;
        }
        inner.cookies.retain(|cookie| cookie.expires.is_none_or(|expires| expires > now));
        if cookie.expires.is_some_and(|expires| expires <= now) {
            inner.cookies.retain(|other| !other.is_same(&cookie));
        } else {
            inner.insert(cookie);
        }
        true
    }

    pub(super) fn for_url(&self, url: &Url, now: SystemTime) -> Option<String> {
        let inner = self.inner.borrow();
        let host = url.host_str()?;
        let mut found: Vec<_> = inner
            .cookies
            .iter()
            .filter(|cookie| {
                let domain =
                    host == cookie.domain || (!cookie.host_only && is_below(host, &cookie.domain));
                domain
                    && is_under(url.path(), &cookie.path)
                    && (!cookie.secure || url.scheme() == "https")
                    && cookie.expires.is_none_or(|expires| expires > now)
            })
            .collect();
        // The longest paths first, and else the oldest (RFC 6265 §5.4).
        found.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<_> = found
            .iter()
            .map(|cookie| match cookie.name.as_str() {
                "" => cookie.value.clone(),
                name => format!("{name}={}", cookie.value),
            })
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

impl Cookie {
    /// Whether one takes the other's place.
    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.domain == other.domain
            && self.host_only == other.host_only
            && self.path == other.path
    }
}

impl Cookie {
    /// Whether this is a cookie of https alone in whose place `other` would be seen: who listens on the
    /// way could set it (RFC 6265bis §5.7, "leave secure cookies alone").
    fn is_guarded(&self, other: &Self) -> bool {
        let (one, two) = (&self.domain, &other.domain);
        self.secure
            && self.name == other.name
            && (one == two || is_below(one, two) || is_below(two, one))
            && is_under(&other.path, &self.path)
    }
}

impl Inner {
    fn insert(&mut self, cookie: Cookie) {
        if let Some(same) = self.cookies.iter_mut().find(|other| other.is_same(&cookie)) {
            *same = cookie;
            return;
        }
        let domain = cookie.domain.clone();
        self.cookies.push(cookie);
        let of_domain = self.cookies.iter().filter(|other| other.domain == domain).count();
        let oldest = match (of_domain > MAX_PER_DOMAIN, self.cookies.len() > MAX_COOKIES) {
            (true, _) => self.cookies.iter().position(|other| other.domain == domain),
            (false, true) => Some(0),
            (false, false) => None,
        };
        if let Some(oldest) = oldest {
            self.cookies.remove(oldest);
        }
    }

    /// The cookie that a Set-Cookie field of `url` means (RFC 6265 §5.2 and §5.3); `None` if it is to
    /// be ignored.
    fn judge(&self, url: &Url, set_cookie: &str, now: SystemTime) -> Option<Cookie> {
        if set_cookie.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return None;
        }
        let host = url.host_str()?;
        let is_secure = url.scheme() == "https";
        let mut parts = set_cookie.split(';');
        let pair = parts.next().unwrap_or_default();
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let (name, value) = (name.trim(), value.trim());
        if name.len() + value.len() > MAX_LENGTH || (name.is_empty() && value.is_empty()) {
            return None;
        }
        let mut cookie = Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            domain: host.to_owned(),
            host_only: true,
            path: default_path(url.path()).to_owned(),
            expires: None,
            secure: false,
        };
        let (mut age, mut expires, mut has_path) = (None, None, false);
        for attribute in parts {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let (name, value) = (name.trim(), value.trim());
            if value.len() > 1024 {
                continue;
            }
            match name.to_ascii_lowercase().as_str() {
                "domain" => {
                    let domain = value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase();
                    if !domain.is_empty() {
                        cookie.host_only = false;
                        cookie.domain = domain;
                    }
                }
                "path" => {
                    has_path = value.starts_with('/');
                    cookie.path = match has_path {
                        true => value.to_owned(),
                        false => default_path(url.path()).to_owned(),
                    };
                }
                "expires" => expires = date::parse(value).or(expires),
                "max-age" => age = seconds(value).or(age),
                "secure" => cookie.secure = true,
                _ => {} // HttpOnly and SameSite mean something to browsers
            }
        }
        cookie.expires = match (age, expires) {
            (Some(age), _) if age <= 0 => Some(SystemTime::UNIX_EPOCH),
            (Some(age), _) => Some(now + MAX_AGE.min(Duration::from_secs(age.unsigned_abs()))),
            (None, expires) => expires.map(|expires| expires.min(now + MAX_AGE)),
        };
        if !cookie.host_only && !self.may_be_for(host, &mut cookie) {
            return None;
        }
        // RFC 6265bis: what is for https is set by https, and these names promise something.
        // (One without a name is sent as its value, which must not look like them.)
        let lower = match cookie.name.as_str() {
            "" => cookie.value.to_ascii_lowercase(),
            name => name.to_ascii_lowercase(),
        };
        if cookie.name.is_empty()
            && (lower.starts_with("__secure-") || lower.starts_with("__host-"))
        {
            return None;
        }
        let promised = (!lower.starts_with("__secure-") || cookie.secure)
            && (!lower.starts_with("__host-")
                || (cookie.secure && cookie.host_only && has_path && cookie.path == "/"));
        (promised && (!cookie.secure || is_secure)).then_some(cookie)
    }

    /// Whether `host` may set a cookie for its domain attribute.
    fn may_be_for(&self, host: &str, cookie: &mut Cookie) -> bool {
        let is_suffix = !cookie.domain.contains('.')
            || self.is_public_suffix.as_ref().is_some_and(|is_one| is_one(&cookie.domain));
        if cookie.domain == host && (is_suffix || is_address(host)) {
            cookie.host_only = true; // it can only mean itself
            return true;
        }
        !is_suffix && (cookie.domain == host || is_below(host, &cookie.domain))
    }
}

/// A number of seconds, negative ones included; what does not fit is as far as it goes.
fn seconds(value: &str) -> Option<i64> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(value.parse().unwrap_or(if value.starts_with('-') { i64::MIN } else { i64::MAX }))
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

/// Whether a host is below a domain; addresses are below nothing.
fn is_below(host: &str, domain: &str) -> bool {
    !is_address(host) && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// RFC 6265 §5.1.4: up to the last `/`.
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(end) => &path[..end],
    }
}

/// RFC 6265 §5.1.4: whether a path is at or under another.
fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
