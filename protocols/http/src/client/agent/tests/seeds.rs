//! Many requests on a network that delays, cuts and resets as the seed says, to servers that do the
//! same: each is answered with what was meant for it, or fails; and nothing is left behind.

use ropewalk_reactor::simulation::seeds;

use super::*;

/// One answer in four of this server's is wrong in some way.
struct Moody {
    mood: Rc<Cell<u64>>,
}

impl Protocol for Moody {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        while let Some(end) = data.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = data.split_to(end + 4);
            let target = String::from_utf8_lossy(&head);
            let target = target.split(' ').nth(1).unwrap_or_default().to_owned();
            let mood = self.mood.get();
            self.mood.set(mood + 1);
            let body = format!("{target} ").repeat(1 + mood as usize % 100);
            let length = body.len();
            match mood % 16 {
                0 => transport.lose_connection(),
                1 => transport.abort_connection(),
                2 => {
                    transport.write(
                        format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}",
                            &body[..length / 2]
                        )
                        .as_bytes(),
                    );
                    transport.lose_connection();
                }
                3 => {
                    // More than was announced. If it comes late, nobody can tell that it is not the
                    // answer to the next request; but it is no valid one.
                    transport.write(
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}junk")
                            .as_bytes(),
                    );
                }
                4..8 => {
                    transport.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    transport.write(format!("{length:x}\r\n{body}\r\n0\r\n\r\n").as_bytes());
                }
                8 => {
                    transport.write(
                        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}").as_bytes(),
                    );
                    transport.lose_connection();
                }
                _ => {
                    transport.write(
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
                            .as_bytes(),
                    );
                }
            }
        }
        Ok(())
    }
}

fn story(simulation: &mut Simulation) -> usize {
    let seed = simulation.seed();
    simulation.resets(if seed.is_multiple_of(3) { 500 } else { 0 });
    simulation.name("a.test", [IpAddr::from([10, 0, 0, 1])]);
    let builder = Client::builder().max_connections_per_origin(3).timeout(seconds(2000));
    let client = builder.build(simulation.reactor().local());
    let moods = Rc::new(Cell::new(seed));
    let server = move |_| Moody { mood: Rc::clone(&moods) };
    let listener = simulation.reactor().listen("10.0.0.1:80", server).expect("a free address");
    let ask = |at: usize| pending(client.get(format!("http://a.test/{at}/")));
    let all: Vec<_> = (0..40).map(ask).collect();
    // Some are given up on the way.
    let dropped: Vec<_> = (0..5).map(|_| client.get("http://a.test/dropped/")).collect();
    simulation.run_for(Duration::from_millis(seed % 100));
    drop(dropped);
    simulation.run_until(|_| all.iter().all(|one| one.borrow().is_some()));
    let mut answered = 0;
    for (at, one) in all.iter().enumerate() {
        match taken(one) {
            Ok(answer) => {
                answered += 1;
                let (text, own) = (answer.text(), format!("/{at}/ "));
                assert!(!text.is_empty());
                assert_eq!(text, own.repeat(text.len() / own.len()), "not its own");
            }
            Err(
                ClientError::Lost { .. }
                | ClientError::Connect { .. }
                | ClientError::Malformed { .. },
            ) => {}
            Err(error) => panic!("{error}"),
        }
    }
    drop(client);
    simulation.reactor().stop_listening(listener);
    simulation.run_for(seconds(100));
    assert_eq!(simulation.open_sockets(), 0, "a connection is left");
    assert_eq!(simulation.reactor().timer_count(), 0, "a timer is left");
    answered
}

#[test]
fn every_request_gets_its_own_answer_or_none_and_nothing_is_left() {
    let mut answered = 0;
    seeds(0..200, |simulation| answered += story(simulation));
    assert!(answered > 200 * 40 / 2, "only {answered}");
}

#[test]
fn a_seed_replays() {
    let play = || {
        let mut simulation = Simulation::new(7);
        (story(&mut simulation), simulation.elapsed())
    };
    assert_eq!(play(), play());
}
