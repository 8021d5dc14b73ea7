//! What each kind of fault does, whom it strikes, and what ends it. What the test itself has set is as
//! it was when all of them are over.

use std::time::Duration;

use super::faults::{Direction, Fault, Relief};
use super::hosts::Host;
use super::{Latency, Link, Simulation};
use crate::clock::Nanos;
use crate::random::Seeded;

impl Simulation {
    /// Two different places, of which one may be the outside.
    fn two_places(&self, chance: &mut Seeded) -> (Host, Host) {
        let count = self.machines.len() as u64 + 1;
        let one = chance.below(count);
        let other = (one + 1 + chance.below(count - 1)) % count;
        let place = |index: u64| match index {
            0 => Host::OUTSIDE,
            index => Host::at(index as usize - 1),
        };
        (place(one), place(other))
    }

    fn one_machine(&self, chance: &mut Seeded) -> Host {
        Host::at(chance.below(self.machines.len() as u64) as usize)
    }

    /// One that knows how to start again, and is up.
    fn one_to_end(&self, chance: &mut Seeded) -> Option<Host> {
        let able = |host: &Host| {
            let machine = &self.machines[host.index()];
            machine.has_boot() && machine.reactor.is_some()
        };
        let hosts: Vec<_> = self.hosts().filter(able).collect();
        let chosen = chance.below(hosts.len().max(1) as u64);
        hosts.get(chosen as usize).copied()
    }

    pub(super) fn strike(
        &mut self,
        fault: Fault,
        lasts: Nanos,
        chance: &mut Seeded,
    ) -> Option<Relief> {
        match fault {
            Fault::Partition => {
                let (one, other) = self.two_places(chance);
                self.spoil_lines(one, other, Direction::Both, true);
                Some(Relief::Mend(one, other, Direction::Both))
            }
            Fault::OneWayPartition => {
                let (from, to) = self.two_places(chance);
                self.spoil_lines(from, to, Direction::There, true);
                Some(Relief::Mend(from, to, Direction::There))
            }
            Fault::Isolation => {
                let host = self.one_machine(chance);
                self.spoil_lines(host, host, Direction::Both, true);
                Some(Relief::Mend(host, host, Direction::Both))
            }
            Fault::Crash => {
                let host = self.one_to_end(chance)?;
                self.crash(host);
                Some(Relief::Restart(host))
            }
            Fault::Kill => {
                let host = self.one_to_end(chance)?;
                self.kill(host);
                Some(Relief::Restart(host))
            }
            Fault::Stall => {
                let host = self.one_machine(chance);
                self.stall(host, Duration::from_nanos(lasts));
                None
            }
            Fault::SlowLink => {
                let least = Duration::from_nanos(chance.below(500_000_000));
                let jitter = Duration::from_nanos(chance.below(200_000_000));
                let latency = Latency::jittering(least, jitter);
                Some(self.spoil_link(chance, "is slow", |link| link.latency(latency)))
            }
            Fault::ThinLink => {
                let rate = 1_000 << chance.below(10);
                Some(self.spoil_link(chance, "is thin", |link| link.bandwidth(rate)))
            }
            Fault::Loss => {
                let lost = 1 + chance.below(10);
                let what = "loses datagrams";
                Some(self.spoil_link(chance, what, |link| link.lose_datagrams(lost)))
            }
            Fault::Doubling => {
                let twice = 1 + chance.below(10);
                let what = "doubles datagrams";
                Some(self.spoil_link(chance, what, |link| link.double_datagrams(twice)))
            }
            Fault::Resets => {
                let segments = 2 + chance.below(100);
                self.net.borrow_mut().manners.reset_one_in = segments;
                self.say(format_args!("one segment in {segments} resets its connection"));
                Some(Relief::NoResets)
            }
            Fault::WrongClock => {
                let host = self.one_machine(chance);
                let most = 3_600_000_000_000;
                let ahead = chance.below(2 * most) as i64 - most as i64;
                self.machine(host).clock.put_ahead(ahead);
                let (name, off) = (self.name_of(host), Duration::from_nanos(ahead.unsigned_abs()));
                let where_to = if ahead < 0 { "behind" } else { "ahead" };
                self.say(format_args!("the wall clock of {name} is {off:?} {where_to}"));
                Some(Relief::Clock(host))
            }
            Fault::Drift => {
                let host = self.one_machine(chance);
                let drift = chance.below(200_001) as i32 - 100_000;
                self.machine(host).clock.drift(drift);
                self.say(format_args!("the clock of {} drifts by {drift} ppm", self.name_of(host)));
                Some(Relief::Drift(host))
            }
            Fault::FewDescriptors => {
                let host = self.one_machine(chance);
                if !self.is_up(host) {
                    return None;
                }
                let port = self.port_of(host);
                let used = self.net.borrow().descriptors_in_use(port);
                let usual = self.machine(host).usual.descriptors;
                let few = (used + chance.below(3) as usize).min(usual);
                self.net.borrow_mut().limit_descriptors(port, few);
                self.say(format_args!("{} may have {few} descriptors", self.name_of(host)));
                Some(Relief::Descriptors(host))
            }
        }
    }

    pub(super) fn relieve(&mut self, relief: Relief) {
        match relief {
            Relief::Mend(one, other, direction) => self.spoil_lines(one, other, direction, false),
            Relief::Restart(host) => self.restart(host),
            Relief::Link(one, other) => {
                let ends = (self.port_of(one), self.port_of(other));
                self.net.borrow_mut().links.spoil(ends, None::<fn(Link) -> Link>);
                let (one, other) = (self.name_of(one), self.name_of(other));
                self.say(format_args!("the line between {one} and {other} is as it was"));
            }
            Relief::NoResets => {
                self.net.borrow_mut().manners.reset_one_in = self.usual_resets;
                self.say(format_args!("connections are reset as before"));
            }
            Relief::Clock(host) => {
                let machine = self.machine(host);
                machine.clock.put_ahead(machine.usual.ahead);
                self.say(format_args!("the wall clock of {} is set", self.name_of(host)));
            }
            Relief::Drift(host) => {
                let machine = self.machine(host);
                machine.clock.drift(machine.usual.drift);
                self.say(format_args!("the clock of {} has its pace again", self.name_of(host)));
            }
            Relief::Descriptors(host) => {
                let most = self.machine(host).usual.descriptors;
                let port = self.port_of(host);
                self.net.borrow_mut().limit_descriptors(port, most);
                self.say(format_args!("{} has its descriptors again", self.name_of(host)));
            }
        }
    }

    /// Cuts a line for a fault, or ends that; of a host with itself: all its lines.
    fn spoil_lines(&mut self, one: Host, other: Host, direction: Direction, cut: bool) {
        let (one, other) = (self.port_of(one), self.port_of(other));
        let mut net = self.net.borrow_mut();
        let mut spoil = |from, to| {
            net.change_line(from, to, |links| links.spoil_by_cutting(from, to, cut));
        };
        if one == other {
            for other in 0..=self.machines.len() {
                spoil(one, other);
                spoil(other, one);
            }
            return;
        }
        spoil(one, other);
        if direction == Direction::Both {
            spoil(other, one);
        }
    }

    fn spoil_link(
        &mut self,
        chance: &mut Seeded,
        what: &str,
        change: impl Fn(Link) -> Link,
    ) -> Relief {
        let (one, other) = self.two_places(chance);
        let ends = (self.port_of(one), self.port_of(other));
        self.net.borrow_mut().links.spoil(ends, Some(change));
        let (first, second) = (self.name_of(one), self.name_of(other));
        self.say(format_args!("the line between {first} and {second} {what}"));
        Relief::Link(one, other)
    }
}
