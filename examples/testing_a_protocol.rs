//! A protocol with a bug that loopback hides, found by the simulated network.
//!
//! ```text
//! cargo run --example testing_a_protocol
//! ```

use bytes::{Buf, BytesMut};
use ropewalk::{Protocol, Result, Simulation, Transport};

/// Takes each read for one message. On the loopback interface that is nearly always so.
struct Hasty;

impl Protocol for Hasty {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let message = data.split();
        transport.write(format!("{} bytes\n", message.len() - 1).as_bytes());
        Ok(())
    }
}

/// Takes what is whole, and leaves the rest for the next call.
struct Patient;

impl Protocol for Patient {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        while let Some(length) = data.iter().position(|&byte| byte == b'\n') {
            data.advance(length + 1);
            transport.write(format!("{length} bytes\n").as_bytes());
        }
        Ok(())
    }
}

/// What a protocol answers on the network that `seed` makes.
fn answer<P: Protocol>(seed: u64, mut build: impl FnMut() -> P + 'static) -> Result<String> {
    let mut simulation = Simulation::new(seed);
    simulation.reactor().listen("10.0.0.1:1", move |_| build())?;
    let mut peer = simulation.dial("10.0.0.1:1")?;
    peer.write(b"hello, world\n");
    simulation.settle();
    Ok(String::from_utf8_lossy(&peer.read()).into_owned())
}

fn main() -> Result {
    let right = "12 bytes\n";
    for seed in 0..1000 {
        let answer = answer(seed, || Hasty)?;
        if answer != right {
            println!("Hasty, seed {seed}: {answer:?}");
            break;
        }
    }
    for seed in 0..1000 {
        assert_eq!(answer(seed, || Patient)?, right, "seed {seed}");
    }
    println!("Patient: right on 1000 networks");
    Ok(())
}
