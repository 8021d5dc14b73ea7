//! Echo of datagrams on tokio's single-threaded runtime, which has no batches.

use std::io;

use tokio::net::UdpSocket;

use crate::batch::LONGEST;

pub(super) fn run() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
        super::announce_datagrams(socket.local_addr()?.port());
        let mut buffer = [0; LONGEST];
        loop {
            let (count, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..count], from).await?;
        }
    })
}
