//! Echo on bare system calls: what no loop over epoll can beat. One `recv` and one `send` a
//! request, and an `epoll_wait` for as many as are ready.

use std::io;

use super::listen;
use super::raw::{self, Connection};

pub(super) fn run() -> io::Result<()> {
    raw::serve(&listen()?, |connection: &mut Connection, data: &[u8]| connection.send(data))
}
