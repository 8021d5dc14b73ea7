//! What a test says about the lines between hosts: slow, thin, cut, mended.

use super::hosts::IntoHost;
use super::{Latency, Link, Simulation};

impl Simulation {
    /// From now on, everything is under way for as long as `latency` says, where its
    /// [link](Self::link) says nothing else. (Before, the seed decides: up to a quarter of a second
    /// in most simulations, much less in some.)
    pub fn latency(&mut self, latency: Latency) {
        let every = &mut self.net.borrow_mut().links.every;
        *every = every.latency(latency);
    }

    /// From now on, each line carries so many bytes a second in each direction, where its
    /// [link](Self::link) says nothing else; 0 is without limit, as it is to begin with.
    pub fn bandwidth(&mut self, bytes_a_second: u64) {
        let every = &mut self.net.borrow_mut().links.every;
        *every = every.bandwidth(bytes_a_second);
    }

    /// From now on, all that `host` sends shares a line of so many bytes a second, and so does all
    /// that it receives; 0 is without limit.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn share_bandwidth(&mut self, host: impl IntoHost, bytes_a_second: u64) {
        let port = self.port_of(host);
        self.net.borrow_mut().links.shared.insert(port, bytes_a_second);
    }

    /// What the line between the two is like from now on, in both directions. Unix sockets, and what
    /// a named host says to itself, use no line.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn link(&mut self, one: impl IntoHost, other: impl IntoHost, link: Link) {
        let (one, other) = (self.port_of(one), self.port_of(other));
        let links = &mut self.net.borrow_mut().links;
        links.set(one, other, link);
        links.set(other, one, link);
    }

    /// As [`link`](Self::link), for one direction.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn link_one_way(&mut self, from: impl IntoHost, to: impl IntoHost, link: Link) {
        let (from, to) = (self.port_of(from), self.port_of(to));
        self.net.borrow_mut().links.set(from, to, link);
    }

    /// Cuts the line between the two, until it is [mended](Self::heal). Nothing is told to anyone:
    /// streams send again what was lost, after ever longer pauses, and give up after a quarter of
    /// an hour ([`Reason::TimedOut`](crate::Reason::TimedOut)); connecting gives up after two
    /// minutes; datagrams are gone.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn partition(&mut self, one: impl IntoHost, other: impl IntoHost) {
        let (one, other) = (self.port_of(one), self.port_of(other));
        self.cut(one, other, true);
        self.cut(other, one, true);
    }

    /// As [`partition`](Self::partition), for what `from` sends to `to` alone: what `to` sends still
    /// arrives, but it never learns that it does.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn partition_one_way(&mut self, from: impl IntoHost, to: impl IntoHost) {
        let (from, to) = (self.port_of(from), self.port_of(to));
        self.cut(from, to, true);
    }

    /// Cuts all lines of `host`, also those to [peers](Self::dial) of the test.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn isolate(&mut self, host: impl IntoHost) {
        self.cut_all(host, true);
    }

    fn cut_all(&mut self, host: impl IntoHost, cut: bool) {
        let port = self.port_of(host);
        let others = self.net.borrow().places.len();
        for other in 0..others {
            self.cut(port, other, cut);
            self.cut(other, port, cut);
        }
    }

    /// Mends the line between the two, in both directions.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn heal(&mut self, one: impl IntoHost, other: impl IntoHost) {
        let (one, other) = (self.port_of(one), self.port_of(other));
        self.cut(one, other, false);
        self.cut(other, one, false);
    }

    /// Mends what [`partition_one_way`](Self::partition_one_way) has cut.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn heal_one_way(&mut self, from: impl IntoHost, to: impl IntoHost) {
        let (from, to) = (self.port_of(from), self.port_of(to));
        self.cut(from, to, false);
    }

    /// Mends all lines of `host`.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn reconnect(&mut self, host: impl IntoHost) {
        self.cut_all(host, false);
    }

    /// Mends all lines.
    pub fn heal_all(&mut self) {
        let mut net = self.net.borrow_mut();
        if net.links.mend_all() {
            net.say(format_args!("all lines are mended"));
        }
    }

    fn cut(&mut self, from: usize, to: usize, cut: bool) {
        self.net.borrow_mut().change_line(from, to, |links| links.cut(from, to, cut));
    }
}
