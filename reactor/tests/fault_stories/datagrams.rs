//! Messages over datagrams: the client sends what is open every now and then, until it is
//! acknowledged.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{
    Address, DatagramOptions, DatagramProtocol, DatagramTransport, Reactor, Result, UnixAddress,
};

use crate::world::{Kind, World, payload};

const PATH: &str = "unix:/run/datagrams";

pub(crate) fn serve(world: &Rc<World>, reactor: &mut Reactor) -> Result {
    for address in ["udp://0.0.0.0:53", PATH] {
        reactor.listen_datagram(address, Server { world: world.clone() })?;
    }
    Ok(())
}

pub(crate) fn begin(world: &Rc<World>, client: u32, kind: Kind, reactor: &mut Reactor) {
    let options = DatagramOptions::default();
    let (address, options) = match kind {
        Kind::UnixDatagram => {
            let own = UnixAddress::new(format!("/run/client{client}")).expect("a short path");
            (PATH, options.bind(Some(Address::Unix(own))))
        }
        _ => ("udp://server:53", options),
    };
    let protocol = Client { world: world.clone(), client };
    let (again, opened) =
        (world.clone(), reactor.connect_datagram_with(options, address, protocol));
    opened.then(move |reactor, result| {
        let Err(error) = result else { return };
        // No descriptor, perhaps: later there may be one.
        again.note(format_args!("client{client}: {error}"));
        if !matches!(error, ropewalk_reactor::Error::Stopped) {
            reactor.call_later(Duration::from_secs(1), move |reactor| {
                begin(&again, client, kind, reactor);
            });
        }
    });
}

struct Server {
    world: Rc<World>,
}

impl DatagramProtocol for Server {
    fn datagram_received(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        data: &[u8],
        from: Address,
    ) -> Result {
        let (client, rest) = data.split_first_chunk::<4>().ok_or("too short")?;
        let (number, data) = rest.split_first_chunk::<4>().ok_or("too short")?;
        let (client, number) = (u32::from_be_bytes(*client), u32::from_be_bytes(*number));
        if self.world.is_mischievous() {
            self.world.mark("fails");
            return Err("a story's error".into());
        }
        let count = self.world.take(client, number as usize, data) as u32;
        transport.send_to(&[client.to_be_bytes(), count.to_be_bytes()].concat(), &from);
        Ok(())
    }
}

struct Client {
    world: Rc<World>,
    client: u32,
}

impl Client {
    fn beat(&mut self, transport: &mut DatagramTransport<'_>) {
        let open = self.world.open(self.client);
        if open.is_empty() {
            return transport.close();
        }
        for number in open.take(3) {
            let mut data = self.client.to_be_bytes().to_vec();
            data.extend_from_slice(&(number as u32).to_be_bytes());
            data.extend_from_slice(&payload(self.client, number));
            self.world.sends(self.client, number);
            transport.send(&data);
        }
        let delay = self.world.pause();
        transport.call_later(delay, |client: &mut Self, transport| client.beat(transport));
    }
}

impl DatagramProtocol for Client {
    fn started(&mut self, transport: &mut DatagramTransport<'_>) -> Result {
        self.beat(transport);
        Ok(())
    }

    fn datagram_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        data: &[u8],
        _: Address,
    ) -> Result {
        let (client, rest) = data.split_first_chunk::<4>().ok_or("too short")?;
        let count = rest.first_chunk::<4>().ok_or("too short")?;
        let own = u32::from_be_bytes(*client) == self.client;
        self.world.expect(own, "another's answer");
        self.world.acknowledged(self.client, u32::from_be_bytes(*count) as usize);
        Ok(())
    }
}
