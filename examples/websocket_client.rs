//! Says something over a WebSocket, prints the answers, and leaves when it has one for each.
//!
//! ```text
//! cargo run --example websocket_client ws://127.0.0.1:8082/ hello 'how are you?'
//! ```

use ropewalk::http::websocket::{
    Close, CloseCode, Deflate, Message, WebSocket, WebSocketClient, WebSocketHandler,
};
use ropewalk::{Reactor, Reason, Result, Transport};

struct Caller {
    sayings: Vec<String>,
    answers: usize,
}

impl WebSocketHandler for Caller {
    fn opened(&mut self, socket: &mut WebSocket<'_>) -> Result {
        for saying in &self.sayings {
            socket.send_text(saying);
        }
        Ok(())
    }

    fn message_received(&mut self, socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
        println!("{}", String::from_utf8_lossy(message.as_bytes()));
        self.answers += 1;
        if self.answers == self.sayings.len() {
            socket.close(CloseCode::NORMAL, "that was all");
        }
        Ok(())
    }

    fn closed(&mut self, transport: &mut Transport<'_>, close: &Close, _: &Reason) {
        println!("closed: {}", close.code);
        transport.stop();
    }
}

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or("ws://127.0.0.1:8082/".to_owned());
    let caller = Caller { sayings: arguments.collect(), answers: 0 };

    let mut reactor = Reactor::new()?;
    let client = WebSocketClient::new(&url)?.deflate(Deflate::new());
    client.connect(&mut reactor, caller).then(|reactor, opened| {
        if let Err(error) = opened {
            reactor.fail(error);
        }
    });
    Ok(reactor.run()?)
}
