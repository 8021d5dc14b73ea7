//! Receives forms: gathers fields in memory, and sends files to disk while they arrive.
//!
//! The one rule: the loop waits for no disk, and the client does: above a mark of bytes that are not
//! written yet it is not read from.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::{BoxError, Error, Result};

use super::spool::{Outcome, Spool};
use super::storage::{Disk, Storage};
use super::{Form, FormError, FormLimits, Kind, MultipartDecoder, MultipartPiece, Part, Upload};
use super::{upload, urlencoded};
use crate::{
    Exchange, ExchangeHandler, Handler, Headers, HttpServer, Intake, LOG, Reply, Request, Response,
    Status,
};

/// Bytes of files that may wait for the disk: four jobs' worth, so that a thread that comes back
/// finds more to do.
const HIGH_WATER: usize = 256 * 1024;
const LOW_WATER: usize = HIGH_WATER / 2;

/// Takes forms, urlencoded or `multipart/form-data`, for a handler.
///
/// ```
/// use ropewalk_http::forms::{Form, Forms};
/// use ropewalk_http::{Exchange, Request, Routes};
///
/// let forms = Forms::new().uploads_to("/var/tmp");
/// let routes = Routes::new()
///     .get("/", |_: &Request| "a page with a form")
///     .post("/", forms.handler(|form: Form, _: &mut Exchange<'_>| {
///         let name = form.field("name").unwrap_or("nobody");
///         Ok(format!("{name} has sent {} files", form.files().len()).into())
///     }));
/// # let _ = routes;
/// ```
///
/// What is no form is answered with 415, a malformed one with 400, one above a limit with 413, one that
/// does not fit on the disk with 507 and a line in the log; the handler never sees it, and its files
/// are removed.
#[derive(Clone)]
pub struct Forms {
    limits: FormLimits,
    directory: Option<Arc<Path>>,
    storage: Arc<dyn Storage>,
}

impl Default for Forms {
    fn default() -> Self {
        Self::new()
    }
}

impl Forms {
    /// Takes forms within the default [`FormLimits`], and no files.
    #[must_use]
    pub fn new() -> Self {
        Self { limits: FormLimits::default(), directory: None, storage: Arc::new(Disk) }
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: FormLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Takes files, and writes them to this directory, which must be there, under names of their own
    /// and with mode 0600.
    #[must_use]
    pub fn uploads_to(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into().into());
        self
    }

    /// Writes files elsewhere than to the machine's file system: to a
    /// [`MemoryStorage`](super::MemoryStorage), in tests.
    #[must_use]
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Arc::new(storage);
        self
    }

    /// A handler whose requests are forms, each of which `answer` is called with once it is whole and
    /// its files are written.
    pub fn handler<F>(&self, answer: F) -> impl Handler + use<F>
    where
        F: FnMut(Form, &mut Exchange<'_>) -> Result<Reply> + 'static,
    {
        FormHandler { forms: self.clone(), answer: Rc::new(RefCell::new(answer)) }
    }

    /// The same for one request, in [`Handler::body_expected`].
    pub fn receive(
        &self,
        request: &Request,
        exchange: &mut Exchange<'_>,
        answer: impl FnOnce(Form, &mut Exchange<'_>) -> Result<Reply> + 'static,
    ) -> Intake {
        match self.body(request, exchange) {
            Ok(body) => {
                let receiving = Receiving {
                    forms: self.clone(),
                    body,
                    form: Form::default(),
                    current: Current::None,
                    announced: VecDeque::new(),
                    spool: Spool::new(self.storage.clone(), exchange.transport().local()),
                    is_paused: false,
                    has_ended: false,
                    answer: Some(Box::new(answer)),
                };
                Intake::Stream(Box::new(Receiver(Rc::new(RefCell::new(receiving)))))
            }
            Err(error) => Intake::Refuse(refusal(error)),
        }
    }

    fn body(&self, request: &Request, exchange: &Exchange<'_>) -> Result<Body, FormError> {
        let length = exchange.body_length().unwrap_or(0);
        match Kind::of(request)? {
            // There is a body: `Kind` has only looked for a gathered one.
            Kind::Empty => Err(FormError::ContentType),
            Kind::Urlencoded if length > self.limits.fields => Err(FormError::FieldsTooLarge),
            Kind::Urlencoded => Ok(Body::Urlencoded(Vec::new())),
            Kind::Multipart(_) if length > self.limits.total => Err(FormError::TooLarge),
            Kind::Multipart(boundary) => {
                let decoder = MultipartDecoder::new(&boundary, self.limits.clone())?;
                Ok(Body::Multipart(Box::new(decoder)))
            }
        }
    }
}

struct FormHandler<F> {
    forms: Forms,
    /// Borrowed while it is called. No callback runs inside another, so it never is when it is to be
    /// called.
    answer: Rc<RefCell<F>>,
}

impl<F> Handler for FormHandler<F>
where
    F: FnMut(Form, &mut Exchange<'_>) -> Result<Reply> + 'static,
{
    /// A request without a body.
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        match request.form_within(&self.forms.limits) {
            Ok(form) => (self.answer.borrow_mut())(form, exchange),
            Err(error) => Ok(refusal(error).into()),
        }
    }

    fn body_expected(&mut self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Intake> {
        let answer = self.answer.clone();
        let answer = move |form, exchange: &mut Exchange<'_>| (answer.borrow_mut())(form, exchange);
        Ok(self.forms.receive(request, exchange, answer))
    }
}

type Answer = Box<dyn FnOnce(Form, &mut Exchange<'_>) -> Result<Reply>>;

/// One form on its way in.
struct Receiving {
    forms: Forms,
    body: Body,
    form: Form,
    current: Current,
    /// Files whose content is in the spool, in order, with their sizes.
    announced: VecDeque<(Part, u64)>,
    spool: Spool,
    /// The client is not read from.
    is_paused: bool,
    has_ended: bool,
    answer: Option<Answer>,
}

enum Body {
    Urlencoded(Vec<u8>),
    Multipart(Box<MultipartDecoder>),
}

/// The part that is being received.
enum Current {
    None,
    Field(String, Vec<u8>),
    /// A file, of which so much has come. Browsers send one without a name and without content where
    /// none was chosen: it is made with its first byte.
    File {
        part: Part,
        size: u64,
        is_made: bool,
    },
}

/// Why a form comes to nothing.
enum Failure {
    Form(FormError),
    /// The disk, or the thread that was to write to it.
    Here(Response, BoxError),
}

impl From<FormError> for Failure {
    fn from(error: FormError) -> Self {
        Self::Form(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let status =
            if full { Status::INSUFFICIENT_STORAGE } else { Status::INTERNAL_SERVER_ERROR };
        Self::Here(Response::status(status), error.into())
    }
}

impl Receiving {
    fn take(&mut self, data: &[u8], exchange: &mut Exchange<'_>) -> Result<(), Failure> {
        let mut rest = data;
        loop {
            let (used, piece) = match &mut self.body {
                Body::Urlencoded(body) => {
                    if (body.len() + data.len()) as u64 > self.forms.limits.fields {
                        return Err(FormError::FieldsTooLarge.into());
                    }
                    body.extend_from_slice(data);
                    return Ok(());
                }
                Body::Multipart(decoder) => decoder.decode(rest)?,
            };
            rest = &rest[used..];
            match (piece, &mut self.current) {
                (MultipartPiece::NeedMore, _) => return Ok(()),
                (MultipartPiece::PartStarted(part), _) => {
                    self.current = if part.file_name.is_none() {
                        Current::Field(part.name, Vec::new())
                    } else if self.forms.directory.is_some() {
                        Current::File { part, size: 0, is_made: false }
                    } else {
                        return Err(FormError::FileNotTaken.into());
                    };
                }
                (MultipartPiece::Data(data), Current::Field(_, value)) => {
                    value.extend_from_slice(data);
                }
                (MultipartPiece::Data(data), Current::File { size, is_made, .. }) => {
                    *size += data.len() as u64;
                    if !std::mem::replace(is_made, true) {
                        self.spool.create(self.forms.temporary_name(exchange)?);
                    }
                    self.spool.write(data);
                }
                (MultipartPiece::PartEnded, _) => self.part_ended(exchange)?,
                (MultipartPiece::Data(_), Current::None) | (MultipartPiece::Ended, _) => {}
            }
        }
    }

    fn part_ended(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Failure> {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None => {}
            Current::Field(name, value) => self.form.push_field((name, value))?,
            Current::File { part, size, is_made } => {
                if part.file_name.as_deref().is_some_and(str::is_empty) && !is_made {
                    return Ok(());
                }
                if !is_made {
                    self.spool.create(self.forms.temporary_name(exchange)?);
                }
                self.spool.close();
                self.announced.push_back((part, size));
            }
        }
        Ok(())
    }

    fn body_ended(&mut self) -> Result<(), FormError> {
        self.has_ended = true;
        match &self.body {
            Body::Multipart(decoder) => decoder.finish()?,
            Body::Urlencoded(body) => self.form = urlencoded::parse(body, &self.forms.limits)?,
        }
        Ok(())
    }

    fn written(
        &mut self,
        result: Result<Outcome, Error>,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), Failure> {
        let outcome = result.map_err(|error| {
            let busy = Response::status(Status::SERVICE_UNAVAILABLE);
            Failure::Here(busy, error.into())
        })?;
        let local = exchange.transport().local();
        for file in self.spool.job_done(outcome)? {
            if let Some((part, size)) = self.announced.pop_front() {
                self.form.files.push(Upload::new(part, size, file, local.clone()));
            }
        }
        Ok(())
    }
}

impl Forms {
    fn temporary_name(&self, exchange: &mut Exchange<'_>) -> io::Result<PathBuf> {
        let mut number = [0; 16];
        exchange.transport().random(&mut number)?;
        let name = format!("upload-{:032x}.tmp", u128::from_le_bytes(number));
        Ok(self.directory.as_deref().unwrap_or(Path::new("")).join(name))
    }
}

/// Follows the exchange; jobs share the form with it.
struct Receiver(Rc<RefCell<Receiving>>);

impl ExchangeHandler for Receiver {
    fn body_received(&mut self, exchange: &mut Exchange<'_>, data: &[u8]) -> Result {
        let taken = self.0.borrow_mut().take(data, exchange);
        go_on(&self.0, exchange, taken)
    }

    fn body_ended(&mut self, exchange: &mut Exchange<'_>, _: &Headers) -> Result {
        let ended = self.0.borrow_mut().body_ended().map_err(Failure::from);
        go_on(&self.0, exchange, ended)
    }
}

/// After each step: the next job, the client's pause, the answer.
fn go_on(
    receiving: &Rc<RefCell<Receiving>>,
    exchange: &mut Exchange<'_>,
    step: Result<(), Failure>,
) -> Result {
    if let Err(failure) = step {
        refuse(failure, exchange);
        return Ok(());
    }
    let mut this = receiving.borrow_mut();
    if let Some(job) = this.spool.next_job() {
        let id = exchange.id();
        let receiving = receiving.clone();
        exchange.transport().defer_to_thread(job).then(move |reactor, result| {
            let mut result = Some(result);
            reactor.with_protocol::<HttpServer, _>(id.connection(), |server, transport| {
                server.with_exchange(transport, id, |exchange| {
                    if let Some(result) = result.take() {
                        job_done(&receiving, exchange, result);
                    }
                });
            });
            // Nobody is there for it any more: its files go.
            if let Some(Ok(outcome)) = result {
                upload::drop_on_a_thread(&reactor.local(), outcome);
            }
        });
    }
    let waiting = this.spool.waiting();
    if !this.is_paused && !this.has_ended && waiting > HIGH_WATER {
        this.is_paused = true;
        exchange.pause_reading();
    } else if this.is_paused && waiting <= LOW_WATER {
        this.is_paused = false;
        exchange.resume_reading();
    }
    if !this.has_ended || !this.spool.is_idle() {
        return Ok(());
    }
    let Some(answer) = this.answer.take() else { return Ok(()) };
    let form = std::mem::take(&mut this.form);
    drop(this);
    answer(form, exchange)?.give(exchange);
    Ok(())
}

/// A job has come back.
fn job_done(
    receiving: &Rc<RefCell<Receiving>>,
    exchange: &mut Exchange<'_>,
    result: Result<Outcome, Error>,
) {
    let written = receiving.borrow_mut().written(result, exchange);
    if let Err(error) = go_on(receiving, exchange, written) {
        // As the server does with the error of a callback that it has called itself.
        log::warn!(target: LOG, "{}: {error}", exchange.transport().peer());
        if exchange.is_unanswered() {
            exchange.respond(Response::status(Status::INTERNAL_SERVER_ERROR).close());
        } else {
            exchange.abort();
        }
    }
}

fn refuse(failure: Failure, exchange: &mut Exchange<'_>) {
    let response = match failure {
        Failure::Form(error) => {
            log::debug!(target: LOG, "{}: a form was refused: {error}", exchange.transport().peer());
            refusal(error)
        }
        Failure::Here(response, error) => {
            let peer = exchange.transport().peer();
            log::warn!(target: LOG, "{peer}: an upload cannot be stored: {error}");
            response
        }
    };
    exchange.respond(response);
}

/// What the client is told.
fn refusal(error: FormError) -> Response {
    let mut response = Response::text(format!("{error}\n"));
    response.set_status(error.status());
    response
}
