//! A server on the simulated network, and clients that speak in the wire's own bytes.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of it")]

use ropewalk_reactor::Simulation;
use ropewalk_reactor::simulation::Peer;
use ropewalk_redis::server::{Config, Server};

pub const ADDRESS: &str = "10.0.0.1:6379";

pub struct World {
    pub simulation: Simulation,
    pub server: Server,
}

impl World {
    /// A network without surprises.
    pub fn calm(config: Config) -> Self {
        Self::on(Simulation::calm(), config)
    }

    pub fn seeded(seed: u64, config: Config) -> Self {
        Self::on(Simulation::new(seed), config)
    }

    fn on(mut simulation: Simulation, config: Config) -> Self {
        let server = Server::new(config);
        let listening = simulation.reactor().listen(ADDRESS, server.clone());
        listening.expect("a fresh simulation's address is free");
        Self { simulation, server }
    }

    pub fn client(&mut self) -> Peer {
        self.simulation.dial(ADDRESS).expect("a good address")
    }

    /// Sends lines as inline commands, and answers what comes back.
    pub fn say(&mut self, peer: &mut Peer, lines: &str) -> String {
        self.send(peer, (lines.to_owned() + "\r\n").as_bytes())
    }

    pub fn send(&mut self, peer: &mut Peer, bytes: &[u8]) -> String {
        peer.write(bytes);
        self.hear(peer)
    }

    /// What has come, once nothing more does.
    pub fn hear(&mut self, peer: &mut Peer) -> String {
        self.simulation.run_for(std::time::Duration::from_millis(1));
        String::from_utf8_lossy(&peer.read()).into_owned()
    }
}
