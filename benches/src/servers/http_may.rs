//! "Hello, World!" on may_minihttp: stackful coroutines, here on one worker thread.

use std::io;
use std::net::Ipv4Addr;

use may_minihttp::{HttpServer, HttpService, Request, Response};

use super::{HELLO, announce, free_port};

#[derive(Clone)]
struct Hello;

impl HttpService for Hello {
    fn call(&mut self, _: Request<'_, '_, '_>, response: &mut Response<'_>) -> io::Result<()> {
        response.header("Content-Type: text/plain").body(HELLO);
        Ok(())
    }
}

pub(super) fn run() -> io::Result<()> {
    may::config().set_workers(1);
    let port = free_port()?;
    let server = HttpServer(Hello).start((Ipv4Addr::LOCALHOST, port))?;
    announce(port);
    server.join().map_err(|_| io::Error::other("may_minihttp panicked"))
}
