//! What the program listens on, and changing that as a whole: a [`Change`] opens what is missing,
//! and touches nothing that is there until it is committed. An address that stays keeps its socket,
//! and whoever waits in its queue; only what it serves is another.

use std::time::Duration;

use log::warn;
use ropewalk::tls::TlsServer;
use ropewalk::{
    Address, DatagramId, DatagramProtocol, Endpoint, Error, Factory, ListenOptions, ListenerId,
    Reactor, RepeatingCall, Target, TlsFiles,
};

use crate::bridge::reached_at;

/// How often the files of `tls://` addresses are looked at: whoever renews a certificate does so
/// weeks before its end.
pub(crate) const CERTIFICATES_LOOKED_AT: Duration = Duration::from_secs(60);

/// One that listens.
struct Socket {
    /// The service that it belongs to.
    service: String,
    /// As it was written.
    endpoint: Endpoint,
    /// Where that is.
    address: Address,
    id: Id,
    tls: Option<(TlsServer, RepeatingCall)>,
}

#[derive(Clone, Copy)]
enum Id {
    Stream(ListenerId),
    Datagrams(DatagramId),
}

/// All that listen.
#[derive(Default)]
pub(crate) struct Sockets {
    all: Vec<Socket>,
}

/// One that began or ceased to listen with a change.
pub(crate) struct Listener {
    pub(crate) service: String,
    pub(crate) address: Address,
}

/// What a change came to.
#[derive(Default)]
pub(crate) struct Changed {
    pub(crate) opened: Vec<Listener>,
    pub(crate) closed: Vec<Listener>,
    /// Addresses whose own options are others now, which a socket that is open does not take.
    pub(crate) unchanged: Vec<(String, Endpoint)>,
}

impl Sockets {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The TLS servers of `tls://` addresses.
    pub(crate) fn tls(&self) -> Vec<TlsServer> {
        self.all.iter().filter_map(|socket| Some(socket.tls.as_ref()?.0.clone())).collect()
    }

    /// Where a client of this machine reaches a service.
    pub(crate) fn reached_at(&self, service: &str) -> Option<Address> {
        let mut own = self.all.iter().filter(|socket| socket.service == service);
        own.find_map(|socket| reached_at(&socket.endpoint, &socket.address))
    }

    /// Begins a change. `tls` are servers for `tls://` addresses whose files have been read already.
    pub(crate) fn change<'a>(
        &'a mut self,
        reactor: &'a mut Reactor,
        tls: Vec<(TlsFiles, TlsServer)>,
    ) -> Change<'a> {
        let taken = self.all.iter().map(|_| None).collect();
        let (service, changed) = (String::new(), Changed::default());
        Change { reactor, sockets: self, tls, service, taken, opened: Vec::new(), changed }
    }
}

/// What is done to a socket that stays, at the end.
type Later = Box<dyn FnOnce(&mut Reactor) -> Result<(), Error>>;

/// A change under way. Dropped before it is committed, it closes what it has opened.
#[must_use = "it is nothing before `commit`"]
pub(crate) struct Change<'a> {
    pub(crate) reactor: &'a mut Reactor,
    sockets: &'a mut Sockets,
    tls: Vec<(TlsFiles, TlsServer)>,
    /// Whose sockets these are.
    service: String,
    /// For each that is there: what it becomes, if it stays.
    taken: Vec<Option<Kept>>,
    opened: Vec<Socket>,
    changed: Changed,
}

struct Kept {
    service: String,
    endpoint: Endpoint,
    /// Its TLS server, and whether that is another one.
    tls: Option<(TlsServer, bool)>,
    later: Option<Later>,
}

impl Change<'_> {
    /// What follows belongs to this service.
    pub(crate) fn of(&mut self, service: &str) {
        self.service = service.to_owned();
    }

    /// Listens for connections.
    pub(crate) fn listen<F: Factory>(
        &mut self,
        mut options: ListenOptions,
        endpoint: &Endpoint,
        factory: F,
    ) -> Result<(), Error> {
        let place = self.place(endpoint);
        let tls = match endpoint.tls() {
            Some(files) => Some(self.tls_server(place, files)?),
            None => None,
        };
        if let Some((server, _)) = &tls {
            options = options.tls(server.clone());
        }
        let Some(place) = place else {
            let listener = self.reactor.listen_with(options, endpoint.clone(), factory)?;
            let Some(address) = self.reactor.address(listener) else { return Err(Error::Gone) };
            let tls = tls.map(|(server, _)| watched(server, self.reactor));
            self.open(endpoint, address, Id::Stream(listener), tls);
            return Ok(());
        };
        let later: Option<Later> = match self.sockets.all[place].id {
            Id::Datagrams(_) => None, // `place` finds only those of its own kind
            Id::Stream(listener) => {
                let endpoint = endpoint.clone();
                Some(Box::new(move |reactor| {
                    reactor.change_listener(listener, options, endpoint, factory)
                }))
            }
        };
        self.keep(place, endpoint, tls, later);
        Ok(())
    }

    /// Listens for datagrams. A socket that is there goes on with the protocol that it has.
    pub(crate) fn datagrams(
        &mut self,
        endpoint: &Endpoint,
        protocol: impl DatagramProtocol,
    ) -> Result<(), Error> {
        if let Some(place) = self.place(endpoint) {
            self.keep(place, endpoint, None, None);
            return Ok(());
        }
        let socket = self.reactor.listen_datagram(endpoint.clone(), protocol)?;
        let Some(address) = self.reactor.datagram_address(socket) else { return Err(Error::Gone) };
        self.open(endpoint, address, Id::Datagrams(socket), None);
        Ok(())
    }

    /// Makes it so.
    pub(crate) fn commit(mut self) -> Changed {
        let mut changed = std::mem::take(&mut self.changed);
        let taken = std::mem::take(&mut self.taken);
        for (mut socket, kept) in std::mem::take(&mut self.sockets.all).into_iter().zip(taken) {
            let Some(kept) = kept else {
                changed.closed.push(socket.close(self.reactor));
                continue;
            };
            if let Some(Err(error)) = kept.later.map(|later| later(self.reactor)) {
                warn!("{}: {error}", kept.service);
            }
            match kept.tls {
                Some((_, false)) => {}
                Some((server, true)) => {
                    socket.watch_no_more();
                    socket.tls = Some(watched(server, self.reactor));
                }
                None => {
                    socket.watch_no_more();
                    socket.tls = None;
                }
            }
            if !kept.endpoint.is_same_socket(&socket.endpoint) {
                changed.unchanged.push((kept.service.clone(), kept.endpoint));
            } else {
                socket.endpoint = kept.endpoint;
            }
            socket.service = kept.service;
            self.sockets.all.push(socket);
        }
        let opened = std::mem::take(&mut self.opened);
        changed.opened.extend(opened.iter().map(Socket::listener));
        self.sockets.all.extend(opened);
        changed
    }

    /// The socket that is there for this address and is not taken yet: best one of the same service.
    /// A port that the system shall choose is another one for each service.
    fn place(&self, endpoint: &Endpoint) -> Option<usize> {
        let fits = |&place: &usize| {
            let socket = &self.sockets.all[place];
            self.taken[place].is_none()
                && socket.endpoint.target() == endpoint.target()
                && socket.endpoint.is_datagram() == endpoint.is_datagram()
        };
        let own = |&place: &usize| self.sockets.all[place].service == self.service;
        let mut places = 0..self.sockets.all.len();
        let found = places.clone().filter(fits).find(own);
        match endpoint.target() {
            Target::Name { port: 0, .. } => found,
            Target::Address(address) if address.socket_addr().is_some_and(|at| at.port() == 0) => {
                found
            }
            _ => found.or_else(|| places.find(fits)),
        }
    }

    /// The TLS server of an address, and whether it is a new one: one that is there knows the sessions
    /// of its clients.
    fn tls_server(
        &self,
        place: Option<usize>,
        files: &TlsFiles,
    ) -> Result<(TlsServer, bool), Error> {
        if let Some(socket) = place.map(|place| &self.sockets.all[place])
            && let (Some((server, _)), Some(same)) = (&socket.tls, socket.endpoint.tls())
            && same == files
        {
            return Ok((server.clone(), false));
        }
        match self.tls.iter().find(|(read, _)| read == files) {
            Some((_, server)) => Ok((server.clone(), true)),
            None => Ok((files.server()?, true)),
        }
    }

    fn open(
        &mut self,
        endpoint: &Endpoint,
        address: Address,
        id: Id,
        tls: Option<(TlsServer, RepeatingCall)>,
    ) {
        let (service, endpoint) = (self.service.clone(), endpoint.clone());
        self.opened.push(Socket { service, endpoint, address, id, tls });
    }

    fn keep(
        &mut self,
        place: usize,
        endpoint: &Endpoint,
        tls: Option<(TlsServer, bool)>,
        later: Option<Later>,
    ) {
        let (service, endpoint) = (self.service.clone(), endpoint.clone());
        self.taken[place] = Some(Kept { service, endpoint, tls, later });
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        for mut socket in std::mem::take(&mut self.opened) {
            socket.close(self.reactor);
        }
    }
}

impl Socket {
    fn listener(&self) -> Listener {
        Listener { service: self.service.clone(), address: self.address.clone() }
    }

    fn watch_no_more(&self) {
        if let Some((_, watching)) = &self.tls {
            watching.stop();
        }
    }

    /// Closes it; its connections live on.
    fn close(&mut self, reactor: &mut Reactor) -> Listener {
        self.watch_no_more();
        match self.id {
            Id::Stream(listener) => reactor.stop_listening(listener),
            Id::Datagrams(socket) => reactor.close_datagram(socket),
        };
        self.listener()
    }
}

fn watched(server: TlsServer, reactor: &mut Reactor) -> (TlsServer, RepeatingCall) {
    let watching = server.watch(reactor, CERTIFICATES_LOOKED_AT);
    (server, watching)
}
