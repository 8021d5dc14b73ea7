//! Where TLS begins: on a new connection, or in mid-stream.

use crate::clock::Clock;
use crate::connection::{Connection, Stage};
use crate::core::Core;
use crate::filter::Filter;
use crate::output::OutputPool;
use crate::random::Random;
use crate::{ConnectionId, Error};

use super::filter::TlsFilter;
use super::{Side, general, seam};

fn install(
    connection: &mut Connection,
    side: Side,
    random: &mut Random,
    clock: &Clock,
    outputs: &mut OutputPool,
) -> Result<(), Error> {
    let output = connection.output.get_or_insert_with(|| outputs.lend());
    let filter = seam::within(random, clock, || TlsFilter::new(side, output));
    if let Some(output) = connection.output.take_if(|output| output.is_empty()) {
        outputs.give_back(output);
    }
    connection.filter = Some(Box::new(Filter::Tls(filter.map_err(general)?)));
    connection.give_unread_to_filter();
    Ok(())
}

impl Core {
    /// Puts TLS between a connection and its protocol.
    pub(crate) fn put_filter(
        &mut self,
        connection: &mut Connection,
        side: Side,
    ) -> Result<(), Error> {
        install(connection, side, &mut self.random, &self.clock, &mut self.outputs)
    }

    /// Puts TLS into a connection in mid-stream.
    pub(crate) fn start_tls(&mut self, id: ConnectionId, side: Side) -> Result<(), Error> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Err(general("the connection has gone"));
        };
        if connection.filter.is_some() {
            return Err(general("it has begun already"));
        }
        if connection.stage != Stage::Open || !connection.takes_output() || connection.read_ended {
            return Err(general("the connection is closing, or a half of it is closed"));
        }
        let Self { random, clock, outputs, .. } = self;
        install(connection, side, random, clock, outputs)?;
        self.begin_handshake(id);
        Ok(())
    }
}
