//! A coin that is counted twice: a bug that only a lost answer shows, and the simulation finds.
//! Try it with `cargo run --example simulation_bug`.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::BytesMut;
use ropewalk::simulation::{Fault, Faults, find_failure};
use ropewalk::{Protocol, ReconnectingClient, Result, Simulation, Transport};

/// Answers each coin, a byte. Its books outlive a crash: how many coins, and the last of them.
struct Bank<const CAREFUL: bool>(Rc<Cell<(u32, u8)>>);

impl<const CAREFUL: bool> Protocol for Bank<CAREFUL> {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        for &coin in data.iter() {
            let (count, last) = self.0.get();
            self.0.set((count + u32::from(coin > last || !CAREFUL), coin));
        }
        transport.write(&data.split());
        Ok(())
    }
}

/// Pays in ten coins: the next with each answer, and the same again on a new connection.
struct Saver(Rc<Cell<u8>>);

impl Protocol for Saver {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.write(&[self.0.get()]);
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let answered = data.split()[0];
        self.0.set(10.min(answered + 1));
        if answered < 10 { self.connection_made(transport) } else { Ok(()) }
    }
}

fn story<const CAREFUL: bool>(simulation: &mut Simulation) {
    let (books, coin) = (Rc::new(Cell::new((0, 0))), Rc::new(Cell::new(1)));
    let disk = books.clone();
    simulation.host("bank", move |reactor| {
        let disk = disk.clone();
        reactor.listen("bank:1", move |_| Bank::<CAREFUL>(disk.clone()))?;
        Ok(())
    });
    let saver = ReconnectingClient::new("bank:1").expect("a good address");
    saver.start(simulation.reactor(), move |_| Saver(coin.clone())).forget();
    simulation.play(Faults::none().every(Fault::Kill, Duration::from_secs(5)));
    simulation.run_for(Duration::from_secs(300));
    assert!(books.get().0 == 10, "10 coins came in, and {} are there", books.get().0);
}

fn main() {
    println!("{}", find_failure(0..1000, story::<false>).expect("there is a bug"));
    assert!(find_failure(0..1000, story::<true>).is_none(), "and there is one less");
    println!("The careful bank is right with 1000 seeds.");
}
