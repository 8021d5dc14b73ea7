//! What a program may ask of its reactor about datagrams, outside of callbacks.

use std::any::Any;

use super::port::DatagramId;
use super::{DatagramOptions, DatagramProtocol, DatagramTransport};
use crate::endpoint::IntoEndpoint;
use crate::panics::isolate;
use crate::protocol::Reason;
use crate::{Address, Deferred, Error, LOG, Reactor, Transport};

impl Reactor {
    /// Receives datagrams at `endpoint` and gives them to `protocol`: `udp://0.0.0.0:53`, or the
    /// same without `udp://`; `unix:/run/app.sock`; `systemd:0`. Port 0 lets the system choose.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    #[doc(alias = "listenUDP")]
    #[doc(alias = "listenMulticast")]
    pub fn listen_datagram(
        &mut self,
        endpoint: impl IntoEndpoint,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramId, Error> {
        self.listen_datagram_with(DatagramOptions::default(), endpoint, protocol)
    }

    /// As [`listen_datagram`](Self::listen_datagram), with options.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_datagram_with(
        &mut self,
        options: DatagramOptions,
        endpoint: impl IntoEndpoint,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramId, Error> {
        self.core.listen_datagram(endpoint.into_endpoint(), Box::new(protocol), options)
    }

    /// Opens a socket that sends to `endpoint` and receives from it alone, and learns when nobody
    /// is there ([`connection_refused`](DatagramProtocol::connection_refused)). A name is resolved
    /// off the loop, and its first address taken that there is a route to. The deferred fires after
    /// [`started`](DatagramProtocol::started); it says nothing of the peer, which is sent nothing.
    #[doc(alias = "connect")]
    pub fn connect_datagram(
        &mut self,
        endpoint: impl IntoEndpoint,
        protocol: impl DatagramProtocol,
    ) -> Deferred<DatagramId> {
        self.connect_datagram_with(DatagramOptions::default(), endpoint, protocol)
    }

    /// As [`connect_datagram`](Self::connect_datagram), with options.
    pub fn connect_datagram_with(
        &mut self,
        options: DatagramOptions,
        endpoint: impl IntoEndpoint,
        protocol: impl DatagramProtocol,
    ) -> Deferred<DatagramId> {
        self.core.connect_datagram(endpoint.into_endpoint(), Box::new(protocol), options)
    }

    /// Where a datagram socket is really bound.
    pub fn datagram_address(&self, id: DatagramId) -> Option<Address> {
        self.core.ports.get(id).map(|port| port.host.clone())
    }

    /// Closes a datagram socket; false when it was closed before.
    pub fn close_datagram(&mut self, id: DatagramId) -> bool {
        self.core.close_datagram(id, Reason::Closed)
    }

    /// How many datagram sockets there are.
    pub fn datagram_count(&self) -> usize {
        self.core.ports.slots.len()
    }

    /// The transport of a datagram socket, whatever its protocol is; `None` when it is closed.
    pub fn datagram(&mut self, id: DatagramId) -> Option<DatagramTransport<'_>> {
        self.refresh_clock();
        self.core.ports.open(id)?;
        Some(DatagramTransport { core: &mut self.core, id })
    }

    /// Calls `call` with the protocol and the transport of a datagram socket, now. `None` when it
    /// is closed, is not of type `P`, or when `call` panics, which is logged.
    pub fn with_datagram_protocol<P: DatagramProtocol, R>(
        &mut self,
        id: DatagramId,
        call: impl FnOnce(&mut P, &mut DatagramTransport<'_>) -> R,
    ) -> Option<R> {
        self.core.ports.open(id)?;
        self.refresh_clock();
        let protocol = &mut **self.datagrams.get_mut(id.slot as usize)?.as_mut()?;
        let protocol = (protocol as &mut dyn Any).downcast_mut::<P>()?;
        let mut transport = DatagramTransport { core: &mut self.core, id };
        match isolate(|| call(protocol, &mut transport)) {
            Ok(answer) => Some(answer),
            Err(message) => {
                let host = self.datagram_address(id);
                let host = host.map_or_else(String::new, |host| host.to_string());
                log::error!(target: LOG, "{host}: a call with its protocol panicked: {message}");
                None
            }
        }
    }
}

impl Transport<'_> {
    /// As [`Reactor::listen_datagram`](crate::Reactor::listen_datagram).
    ///
    /// # Errors
    /// The address is bad, in use, or not permitted.
    pub fn listen_datagram(
        &mut self,
        endpoint: impl IntoEndpoint,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramId, Error> {
        let options = DatagramOptions::default();
        self.core.listen_datagram(endpoint.into_endpoint(), Box::new(protocol), options)
    }

    /// As [`Reactor::connect_datagram`](crate::Reactor::connect_datagram).
    pub fn connect_datagram(
        &mut self,
        endpoint: impl IntoEndpoint,
        protocol: impl DatagramProtocol,
    ) -> Deferred<DatagramId> {
        let options = DatagramOptions::default();
        self.core.connect_datagram(endpoint.into_endpoint(), Box::new(protocol), options)
    }

    /// A datagram socket of this reactor, to send from; `None` when it is closed.
    pub fn datagram(&mut self, id: DatagramId) -> Option<DatagramTransport<'_>> {
        self.core.ports.open(id)?;
        Some(DatagramTransport { core: self.core, id })
    }
}
