//! Serves the files of a directory, compressed for who takes it, and writes requests down.
//!
//! ```text
//! cargo run --example http_files 127.0.0.1:8084 docs
//! curl -i http://127.0.0.1:8084/static/1-echo.md
//! curl --compressed -r 0-99 http://127.0.0.1:8084/static/1-echo.md
//! curl -C - -O http://127.0.0.1:8084/static/1-echo.md
//! ```

use ropewalk::http::{AccessLog, Compression, HandlerExt, Routes, Site, StaticFiles};
use ropewalk::{Reactor, Result};

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8084".to_owned());
    let root = arguments.next().unwrap_or("docs".to_owned());

    let mut reactor = Reactor::new()?;
    let files = StaticFiles::new(root)
        .listing(true)
        .precompressed(true) // FILE.br, FILE.zst or FILE.gz beside FILE
        .cache_control("max-age=60");
    let routes = Routes::new().mount("/static", files);
    let site =
        Site::new(routes.with(Compression::new())).access_log(AccessLog::to(std::io::stderr()));
    let listener = reactor.listen(&address, site.clone())?;
    if let Some(address) = reactor.address(listener) {
        println!("listening on {address}");
    }
    // What is under way is answered first.
    reactor.before_shutdown(move |reactor| {
        reactor.stop_listening(listener);
        site.drain(reactor)
    });
    reactor.stop_on_signals()?;
    reactor.run()?;
    Ok(())
}
