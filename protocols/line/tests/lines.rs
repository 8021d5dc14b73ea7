//! Stories of lines on a connection: limits, modes, pauses and ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ropewalk_line::echo::{Echo, LineEcho};
use ropewalk_line::{Delimiter, Error, LineProtocol, LineTransport, Lines, Mode};
use ropewalk_reactor::testing::Harness;
use ropewalk_reactor::{ConnectionOptions, Reason, Result, Simulation, Transport};

/// Obeys its lines, and keeps a diary.
#[derive(Debug, Clone, Default)]
struct Obedient {
    diary: Rc<RefCell<Vec<String>>>,
    /// Raw bytes still to come; `usize::MAX` is all there are.
    raw: usize,
    forgives: bool,
}

impl Obedient {
    fn note(&self, what: impl Into<String>) {
        self.diary.borrow_mut().push(what.into());
    }
}

impl LineProtocol for Obedient {
    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
        let line = String::from_utf8_lossy(line);
        self.note(&*line);
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("raw", count) => self.raw = count.parse()?,
            ("pause", _) => transport.pause_reading(),
            ("blink", _) => {
                transport.pause_reading();
                transport.resume_reading();
            }
            ("quit", _) => {
                transport.send_line("bye");
                transport.lose_connection();
            }
            ("abort", _) => transport.abort_connection(),
            ("fail", _) => {
                transport.send_line("500 no");
                return Err("told to".into());
            }
            ("nap", _) => {
                transport.pause_reading();
                transport.call_later::<Self>(Duration::from_secs(1), |this, transport| {
                    this.note("(awake)");
                    transport.resume_reading();
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn mode(&self) -> Mode {
        if self.raw > 0 { Mode::Raw } else { Mode::Lines }
    }

    fn raw_data_received(&mut self, _: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let mine = data.split_to(data.len().min(self.raw));
        if self.raw != usize::MAX {
            self.raw -= mine.len();
        }
        // Pieces depend on how the bytes came; the diary must not.
        let mut diary = self.diary.borrow_mut();
        let text = String::from_utf8_lossy(&mine).into_owned();
        match diary.last_mut().filter(|last| last.starts_with('<')) {
            Some(last) => last.push_str(&text),
            None => diary.push(format!("<{text}")),
        }
        Ok(())
    }

    fn line_length_exceeded(&mut self, transport: &mut Transport<'_>, start: &[u8]) -> Result {
        self.note(format!("(too long: {})", String::from_utf8_lossy(start)));
        if self.forgives {
            transport.send_line("500 line too long");
            return Ok(());
        }
        Err(Error::LineTooLong { limit: start.len() }.into())
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.note(format!("(lost: {reason})"));
    }
}

fn harness(protocol: Obedient) -> (Harness<Lines<Obedient>>, Rc<RefCell<Vec<String>>>) {
    let diary = protocol.diary.clone();
    (Harness::new(Lines::new(protocol).max_length(20)), diary)
}

/// The diary after `wire` came in one piece, which must be the same as byte by byte.
fn story(protocol: impl Fn() -> Obedient, wire: &[u8]) -> Vec<String> {
    let (mut whole, diary) = harness(protocol());
    whole.feed(wire);
    let (mut bytewise, other) = harness(protocol());
    bytewise.feed_bytewise(wire);
    assert_eq!(*diary.borrow(), *other.borrow());
    assert_eq!(whole.written(), bytewise.written());
    drop((whole, bytewise));
    let mut diary = diary.take();
    diary.retain(|entry| entry != "(lost: the reactor stopped)");
    diary
}

#[test]
fn lines_are_delivered_whole_and_without_their_delimiter() {
    assert_eq!(
        story(Obedient::default, b"one\r\n\r\ntwo\nthree\r\npart"),
        ["one", "", "two\nthree"]
    );
}

#[test]
fn a_delimiter_split_across_reads_ends_its_line() {
    let (mut harness, diary) = harness(Obedient::default());
    harness.feed(b"one\r");
    assert!(diary.borrow().is_empty());
    harness.feed(b"\ntwo\r");
    harness.feed(b"\n");
    assert_eq!(*diary.borrow(), ["one", "two"]);
}

#[test]
fn a_line_of_exactly_the_limit_passes_and_one_over_it_closes() {
    let exact = "12345678901234567890";
    assert_eq!(story(Obedient::default, format!("{exact}\r\n").as_bytes()), [exact]);
    let (mut harness, diary) = harness(Obedient::default());
    harness.feed(format!("{exact}1\r\nnever\r\n").as_bytes());
    harness.close();
    let Some(reason) = harness.reason() else { panic!("not lost") };
    assert_eq!(reason.error(), Some(&Error::LineTooLong { limit: 20 }));
    assert_eq!(diary.borrow()[0], format!("(too long: {exact})"));
    assert_eq!(diary.borrow().len(), 2, "{:?}", diary.borrow());
}

#[test]
fn a_line_over_the_limit_closes_before_its_end_is_there() {
    let mut harness = Harness::new(Lines::new(LineEcho).max_length(20));
    harness.feed(b"123456789012345678901");
    assert!(harness.is_closed());
    harness.close();
    let Some(reason) = harness.reason() else { panic!("not lost") };
    assert_eq!(reason.error(), Some(&Error::LineTooLong { limit: 20 }));
}

#[test]
fn a_protocol_that_forgives_long_lines_goes_on_with_the_next() {
    let forgiving = || Obedient { forgives: true, ..Obedient::default() };
    let wire = format!("a\r\n{}\r\nb\r\n", "x".repeat(100_000));
    let expected = ["a".to_owned(), format!("(too long: {})", "x".repeat(20)), "b".to_owned()];
    let (mut harness, diary) = harness(forgiving());
    harness.feed(wire.as_bytes());
    assert_eq!(*diary.borrow(), expected);
    assert_eq!(harness.written(), "500 line too long\r\n");
    assert_eq!(story(forgiving, &wire.as_bytes()[..2000]), expected[..2]);
}

#[test]
fn raw_mode_takes_bytes_and_gives_the_rest_back_to_lines() {
    let wire = b"raw 5\r\n\r\n\r\n!quiet\r\nraw 3\r\nabcraw 1\r\nx\r\n";
    let expected = ["raw 5", "<\r\n\r\n!", "quiet", "raw 3", "<abc", "raw 1", "<x", ""];
    assert_eq!(story(Obedient::default, wire), expected);
}

#[test]
fn a_switch_in_the_middle_of_a_line_makes_what_came_of_it_raw() {
    let (mut harness, diary) = harness(Obedient::default());
    harness.feed(b"abc");
    harness.with(|lines, _| lines.inner_mut().raw = 3);
    harness.feed(b"d\r\n");
    assert_eq!(*diary.borrow(), ["<abc", "d"]);
}

#[test]
fn thousands_of_switches_in_one_chunk_do_not_recurse() {
    const SWITCHES: usize = 100_000;
    let (mut harness, diary) = harness(Obedient::default());
    // Pausing first lets it arrive in the largest pieces that one read takes, 8,192 switches each.
    harness.with(|_, transport| transport.pause_reading());
    harness.feed("raw 1\r\nx".repeat(SWITCHES).as_bytes());
    harness.with(|_, transport| transport.resume_reading());
    assert_eq!(diary.borrow().len(), 2 * SWITCHES);
    assert_eq!(diary.borrow().last().map(String::as_str), Some("<x"));
}

#[test]
fn a_protocol_without_raw_mode_is_closed_if_it_asks_for_it() {
    struct Mistaken;
    impl LineProtocol for Mistaken {
        fn line_received(&mut self, _: &mut Transport<'_>, _: &[u8]) -> Result {
            Ok(())
        }
        fn mode(&self) -> Mode {
            Mode::Raw
        }
    }
    let mut harness = Harness::new(Lines::new(Mistaken));
    harness.feed(b"x");
    harness.close();
    let Some(reason) = harness.reason() else { panic!("not lost") };
    assert_eq!(reason.error(), Some(&Error::NoRawMode));
}

#[test]
fn no_line_follows_the_one_that_paused_and_resuming_delivers_the_rest() {
    let (mut harness, diary) = harness(Obedient::default());
    harness.feed(b"one\r\npause\r\ntwo\r\npause\r\nthr");
    assert_eq!(*diary.borrow(), ["one", "pause"]);
    harness.feed(b"ee\r\n");
    assert_eq!(*diary.borrow(), ["one", "pause"]);
    harness.with(|_, transport| transport.resume_reading());
    assert_eq!(*diary.borrow(), ["one", "pause", "two", "pause"]);
    harness.with(|_, transport| transport.resume_reading());
    assert_eq!(*diary.borrow(), ["one", "pause", "two", "pause", "three"]);
}

#[test]
fn a_thousand_pauses_lose_and_reorder_nothing() {
    let (mut harness, diary) = harness(Obedient::default());
    let lines: Vec<_> = (0..1000).map(|number| format!("pause {number}")).collect();
    harness.feed((lines.join("\r\n") + "\r\n").as_bytes());
    for done in 1..=lines.len() {
        assert_eq!(diary.borrow().len(), done);
        harness.with(|_, transport| transport.resume_reading());
    }
    assert_eq!(*diary.borrow(), lines);
    assert_eq!(
        story(Obedient::default, b"blink\r\none\r\nblink\r\ntwo\r\n"),
        ["blink", "one", "blink", "two"]
    );
}

#[test]
fn nothing_is_delivered_after_the_connection_is_given_up() {
    for (order, reply) in [("quit", "bye\r\n"), ("fail", "500 no\r\n")] {
        let (mut harness, diary) = harness(Obedient::default());
        harness.feed(format!("{order}\r\nnever\r\nraw 3\r\nabc").as_bytes());
        harness.feed(b"never\r\n");
        assert_eq!(*diary.borrow(), [order]);
        assert_eq!(harness.written(), reply);
        harness.close();
        assert!(harness.is_lost());
    }
    let (mut harness, diary) = harness(Obedient::default());
    harness.feed(b"abort\r\nnever\r\n");
    assert_eq!(*diary.borrow(), ["abort", "(lost: aborted here)"]);
}

#[test]
fn timers_and_calls_reach_the_protocol_inside() {
    let (mut harness, diary) = harness(Obedient::default());
    harness.feed(b"nap\r\none\r\n");
    harness.advance(Duration::from_millis(999));
    assert_eq!(*diary.borrow(), ["nap"]);
    harness.advance(Duration::from_millis(2));
    assert_eq!(*diary.borrow(), ["nap", "(awake)", "one"]);
    let id = harness.id();
    let found = harness.reactor().with_protocol::<Obedient, _>(id, |inner, _| inner.raw);
    assert_eq!(found, Some(0));
    let stranger = harness.reactor().with_protocol::<LineEcho, _>(id, |_, _| ());
    assert_eq!(stranger, None);
}

#[test]
fn an_unfinished_line_ends_with_the_stream() {
    let (mut harness, diary) = harness(Obedient::default());
    harness.feed(b"one\r\ntw");
    harness.close();
    assert_eq!(*diary.borrow(), ["one", "(lost: closed by the peer)"]);
}

#[test]
fn people_may_end_lines_with_a_line_feed_alone() {
    let mut harness = Harness::new(Lines::new(LineEcho).delimiter(Delimiter::LfOrCrLf));
    harness.feed(b"one\ntwo\r\nthree\r\r\n");
    assert_eq!(harness.written(), "one\r\ntwo\r\nthree\r\r\n");
}

#[test]
fn the_same_story_is_told_on_every_network() {
    let wire =
        b"one\r\nraw 7\r\n\r\nbytes\r\ntoo long, and much more than that\r\nthree\r\nquit\r\n";
    let expected =
        ["one", "raw 7", "<\r\nbytes", "", "(too long: too long, and much m)", "three", "quit"];
    for seed in 0..500 {
        let mut simulation = Simulation::new(seed);
        let diary = Rc::new(RefCell::new(Vec::new()));
        let theirs = diary.clone();
        simulation
            .reactor()
            .listen("10.0.0.1:23", move |_| {
                let protocol =
                    Obedient { diary: theirs.clone(), forgives: true, ..Obedient::default() };
                Lines::new(protocol).max_length(20)
            })
            .expect("a free address");
        let mut peer = simulation.dial("10.0.0.1:23").expect("a good address");
        peer.write(wire);
        simulation.settle();
        assert_eq!(peer.read(), "500 line too long\r\nbye\r\n", "seed {seed}");
        peer.close();
        simulation.settle();
        let mut diary = diary.take();
        let lost = diary.pop();
        assert!(lost.is_some_and(|lost| lost.starts_with("(lost: ")), "seed {seed}");
        assert_eq!(diary, expected, "seed {seed}");
    }
}

#[test]
fn an_echo_reads_no_faster_than_its_peer() {
    const LENGTH: usize = 1 << 20;
    let options = ConnectionOptions::default().high_water_mark(8192).low_water_mark(1024);
    let mut harness = Harness::with_options(Echo, options);
    harness.room(1024);
    harness.stop_reading();
    harness.feed(&vec![b'x'; LENGTH]);
    let waiting =
        harness.with(|_, transport| (transport.buffered(), transport.is_reading_paused()));
    assert!(waiting.1 && waiting.0 < 16 * 1024, "{waiting:?}");
    harness.resume_reading();
    let mut written = harness.written();
    assert_eq!(written.copy_to_bytes(written.remaining()).len(), LENGTH);
}
