//! The story of one request: a connection, the answer, and perhaps another URL, again and again.

use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use url::Url;

use super::Shared;
use super::decode::{self, Decoder};
use super::error::{ClientError, shown};
use super::incoming::{Answer, answer};
use super::pool::{Asked, Grant, Lease};
use super::proxy::credentials;
use super::redirect::{Hop, is_sensitive};
use super::request::{Body, Request};
use super::response::{Alarm, ResponseBody, StreamedResponse};
use super::upload::{self, Upload};
use crate::client::{ExchangeId, Failure, HttpClient, RequestBody, RequestHead};
use crate::codec::ResponseHead;
use crate::{Headers, LOG, Method};

/// A redirection's own body is read up to this, to keep its connection: one round trip's worth.
const MAX_DRAIN: usize = 64 * 1024;
/// How many connections may turn out to have gone before anything was sent on them.
const MAX_STALE: usize = 8;

impl Shared {
    /// Asks, and answers when the head of an answer is here that leads nowhere else.
    pub(super) async fn run(
        self: Rc<Self>,
        request: Request,
    ) -> Result<StreamedResponse, ClientError> {
        let Request { method, url, headers, body, timeout, redirects, .. } = request;
        let limit = timeout.or(self.options.timeout);
        let mut alarm = Alarm(limit.map(|limit| (self.local.sleep(limit), limit)));
        let mut hop = Hop { method, url: url?, headers, body, has_left: false };
        if method == Method::Connect {
            let problem =
                "CONNECT is for proxies: set one, and ask for what is behind it".to_owned();
            return Err(ClientError::BadRequest { url: shown(&hop.url), problem });
        }
        let limit = redirects.unwrap_or(self.options.max_redirects);
        let mut followed = 0;
        loop {
            let url = hop.url.clone();
            let (head, mut answer) = alarm.within(&url, self.exchange(&mut hop)).await?;
            if limit == 0 || !hop.follow(&head)? {
                let decodes = self.decodes(&hop.headers) && hop.method != Method::Head;
                let decoder = if decodes { Decoder::of(head.headers()) } else { None };
                let body = ResponseBody {
                    answer,
                    decoder,
                    url: url.clone(),
                    alarm,
                    local: self.local.clone(),
                    is_over: false,
                };
                return Ok(StreamedResponse { head, url, body });
            }
            if followed == limit {
                return Err(ClientError::TooManyRedirects { url: shown(&url), limit });
            }
            followed += 1;
            log::debug!(target: LOG, "{}: {} leads to {}", shown(&url), head.status(), shown(&hop.url));
            let drained = async {
                drain(&mut answer).await;
                Ok(())
            };
            alarm.within(&url, drained).await?;
        }
    }

    /// One exchange: sent once more on a fresh connection if an idle one turned out to be closed, and
    /// the request may be repeated (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
    async fn exchange(&self, hop: &mut Hop) -> Result<(ResponseHead, Answer), ClientError> {
        let url = hop.url.clone();
        let (mut fresh, mut stale) = (false, 0);
        loop {
            let head = self.head(hop, &url).await?;
            let lease = self.lease(&url, fresh).await?;
            let was_used = lease.is_used;
            let mut body = hop.body.take();
            let Some(mut answer) = self.send(&url, lease, head, &mut body).await? else {
                // Nothing was sent, so even what can be produced only once can still be.
                if !hop.body.is_there() {
                    hop.body = body;
                }
                stale += 1;
                if stale > MAX_STALE {
                    let problem = "the server closes each connection at once".to_owned();
                    return Err(ClientError::Lost { url: shown(&url), problem, unanswered: true });
                }
                continue;
            };
            match answer.head().await {
                Ok((head, at)) => {
                    self.keep_cookies(&url, &head, at);
                    return Ok((head, answer));
                }
                Err(Failure::Unanswered(reason))
                    if was_used && !fresh && hop.method.is_idempotent() && hop.body.is_there() =>
                {
                    log::debug!(target: LOG, "{}: an idle connection was closed: {reason}", shown(&url));
                    fresh = true;
                }
                Err(failure) => return Err(ClientError::from_failure(&url, &failure)),
            }
        }
    }

    async fn lease(&self, url: &Url, fresh: bool) -> Result<Lease, ClientError> {
        let grant = match self.pool.ask(&self.origin(url), fresh) {
            Asked::Now(grant) => grant,
            Asked::Later(grant) => grant.await.map_err(|error| stopped(url, &error))?,
            Asked::Full => {
                let limit = self.options.max_waiting;
                return Err(ClientError::TooManyWaiting { url: shown(url), limit });
            }
        };
        match grant {
            Grant::Lease(lease) => Ok(lease),
            Grant::Permit(permit) => self.open(permit, url).await,
        }
    }

    /// Sends a request; `None`, and nothing was sent, if the connection has gone.
    async fn send(
        &self,
        url: &Url,
        lease: Lease,
        head: RequestHead,
        body: &mut Body,
    ) -> Result<Option<Answer>, ClientError> {
        let (framing, upload) = match std::mem::replace(body, Body::Gone) {
            Body::Empty | Body::Gone => (RequestBody::Empty, None),
            Body::Whole(bytes) => (RequestBody::Whole(bytes), None),
            Body::Pulled { length, pieces } => {
                let framing = length.map_or(RequestBody::Chunked, RequestBody::Exact);
                (framing, Some(Upload::Pulled { left: length, pieces }))
            }
            Body::File(path) => {
                let bad = |problem: String| ClientError::RequestBody { url: shown(url), problem };
                let shown = path.display().to_string();
                let opening = self
                    .local
                    .call(move |reactor| reactor.defer_to_thread(move || upload::open(&path)));
                let opened = opening.await.map_err(|error| stopped(url, &error))?.await;
                let (file, length) = opened
                    .map_err(|error| bad(error.to_string()))?
                    .map_err(|error| bad(format!("{shown}: {error}")))?;
                (RequestBody::Exact(length), Some(Upload::file(file, length)))
            }
        };
        let local = self.local.clone();
        // A request that was cancelled before it was sent is not sent.
        let wanted = Rc::new(());
        let is_wanted = Rc::downgrade(&wanted);
        let sent = self.local.call(move |reactor| {
            let id = lease.id();
            let (mut lease, mut upload) = (Some(lease), upload);
            let sent = reactor
                .with_protocol::<HttpClient, _>(id, |client, transport| {
                    if !client.is_ready() || transport.is_closing() || is_wanted.strong_count() == 0
                    {
                        return None;
                    }
                    let (receiver, mut answer) = answer(&local, lease.take()?, upload.take());
                    let sent = client.send(transport, &head, framing, Box::new(receiver));
                    sent.ok().map(|id: ExchangeId| {
                        answer.begun(id);
                        answer
                    })
                })
                .flatten();
            if let Some(lease) = lease {
                if is_wanted.strong_count() == 0 { drop(lease) } else { lease.discard() }
            }
            (sent, upload)
        });
        let (sent, upload) = sent.await.map_err(|error| stopped(url, &error))?;
        drop(wanted);
        if let Some(Upload::Pulled { left, pieces }) = upload {
            *body = Body::Pulled { length: left, pieces };
        }
        Ok(sent)
    }

    /// The head of a request for the next hop.
    async fn head(&self, hop: &Hop, url: &Url) -> Result<RequestHead, ClientError> {
        let bad = |problem: &str| ClientError::BadRequest {
            url: shown(url),
            problem: problem.to_owned(),
        };
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let mut target = url.path().to_owned();
        if let Some(query) = url.query() {
            target.push('?');
            target.push_str(query);
        }
        let proxy = self.options.proxies.of(url).filter(|_| url.scheme() == "http");
        if proxy.is_some() {
            target = format!("http://{host}{target}");
        }
        let head = RequestHead::new(hop.method, &host, &target);
        let mut head = head.map_err(|error| bad(error.text()))?;
        let has = |name: &str| hop.headers.get(name).is_some();
        for (name, value) in hop.headers.iter() {
            // What a handler of one connection can do with an upgrade, this client cannot.
            if !name.eq_ignore_ascii_case("upgrade") {
                head = head.header(name, value);
            }
        }
        for (name, value) in self.options.headers.iter().filter(|(name, _)| !has(name)) {
            let stays =
                (hop.has_left && is_sensitive(name)) || name.eq_ignore_ascii_case("upgrade");
            if !stays {
                head = head.header(name, value);
            }
        }
        if self.decodes(&hop.headers) {
            head = head.header("Accept-Encoding", decode::ACCEPTED);
        }
        if !has("accept") && self.options.headers.get("accept").is_none() {
            head = head.header("Accept", "*/*");
        }
        if !has("authorization")
            && let Some(credentials) = credentials(url)
        {
            head = head.header("Authorization", credentials);
        }
        if let Some(credentials) = proxy.and_then(|proxy| proxy.credentials.as_ref())
            && !has("proxy-authorization")
        {
            head = head.header("Proxy-Authorization", credentials);
        }
        if let Some(jar) = &self.options.cookies
            && !has("cookie")
        {
            let now = self.local.call(|reactor| reactor.wall_clock());
            let now = now.await.map_err(|error| stopped(url, &error))?;
            if let Some(cookies) = jar.for_url(url, now) {
                head = head.header("Cookie", cookies);
            }
        }
        Ok(head)
    }

    /// Whether a request asks for compressed answers in the client's name. Parts of one (Range) would
    /// be parts of what is compressed.
    fn decodes(&self, headers: &Headers) -> bool {
        self.options.decode
            && headers.get("accept-encoding").is_none()
            && headers.get("range").is_none()
            && self.options.headers.get("accept-encoding").is_none()
    }

    fn keep_cookies(&self, url: &Url, head: &ResponseHead, now: SystemTime) {
        let Some(jar) = &self.options.cookies else { return };
        for value in head.headers().get_all("set-cookie") {
            let kept = str::from_utf8(value).is_ok_and(|value| jar.keep(url, value, now));
            if !kept {
                log::debug!(target: LOG, "{}: a cookie that it may not set was ignored", shown(url));
            }
        }
    }
}

fn stopped(url: &Url, error: &ropewalk_reactor::Error) -> ClientError {
    ClientError::Lost { url: shown(url), problem: error.to_string(), unanswered: false }
}

/// Reads the rest of an answer that nobody reads, if it is short, so that its connection is kept.
async fn drain(answer: &mut Answer) {
    let mut left = MAX_DRAIN;
    while let Ok(Some(piece)) = answer.piece().await {
        let piece: Bytes = piece;
        let Some(less) = left.checked_sub(piece.len()) else { return };
        left = less;
    }
}
