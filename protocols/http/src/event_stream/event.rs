//! One event as it goes over the wire (WHATWG HTML §9.2.6).
//!
//! The one rule: nothing that is put into an event can end a line of its own: what follows would be
//! taken for another field, or another event.

use std::time::Duration;

/// An event for the listeners of a page: data of any number of lines, and, if wanted, a name, an id
/// and how long to wait before connecting again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    data: String,
    name: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
}

impl Event {
    /// An event of this data. Its lines arrive as lines: CR, LF and CRLF all end one, and arrive as LF.
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// The name that a page listens for with `addEventListener` (`message`). Line ends are left out.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.replace(['\r', '\n'], ""));
        self
    }

    /// The id that a browser names when it connects again, in Last-Event-ID. Line ends and NUL, which
    /// browsers do not take in one, are left out; an empty one takes back the last.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.id = Some(id.replace(['\r', '\n', '\0'], ""));
        self
    }

    /// How long a browser waits before it connects again from now on, in whole milliseconds.
    #[must_use]
    pub fn retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }

    pub(super) fn id_text(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The event as bytes, with the empty line at its end.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + 32);
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        if let Some(id) = &self.id {
            field("id", id);
        }
        if let Some(name) = &self.name {
            field("event", name);
        }
        if let Some(retry) = self.retry {
            field("retry", &retry.as_millis().to_string());
        }
        // One line at least: an event without data is never dispatched.
        for line in self.data.replace("\r\n", "\n").split(['\r', '\n']) {
            field("data", line);
        }
        out.push(b'\n');
        out
    }
}

impl From<&str> for Event {
    fn from(data: &str) -> Self {
        Self::new(data)
    }
}

impl From<String> for Event {
    fn from(data: String) -> Self {
        Self::new(data)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(event: &Event) -> String {
        String::from_utf8(event.encode()).expect("it is made of text")
    }

    #[test]
    fn an_event_is_written_field_by_field() {
        assert_eq!(text(&"hello".into()), "data: hello\n\n");
        assert_eq!(text(&"".into()), "data: \n\n");
        let event = Event::new("1\n2\r\n3\r4\n").name("price").id("7");
        let event = event.retry(Duration::from_millis(2500));
        assert_eq!(
            text(&event),
            "id: 7\nevent: price\nretry: 2500\ndata: 1\ndata: 2\ndata: 3\ndata: 4\ndata: \n\n"
        );
    }

    #[test]
    fn nothing_can_be_injected() {
        let event = Event::new("x\n\ndata: y\rid: 9").name("a\r\nid: 1").id("1\n\n\0data: z");
        assert_eq!(
            text(&event),
            "id: 1data: z\nevent: aid: 1\ndata: x\ndata: \ndata: data: y\ndata: id: 9\n\n"
        );
    }

    /// What a browser makes of a stream (WHATWG HTML §9.2.6), for events with data.
    fn read(stream: &str) -> Vec<(String, String, String)> {
        let (mut events, mut id) = (Vec::new(), String::new());
        let (mut name, mut data) = (String::new(), String::new());
        let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
        for line in stream.split('\n') {
            if line.is_empty() {
                if !data.is_empty() {
                    data.pop();
                    let event = (id.clone(), std::mem::take(&mut name), std::mem::take(&mut data));
                    events.push(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => id = value.to_owned(),
                "event" => name = value.to_owned(),
                "data" => data += &format!("{value}\n"),
                _ => {}
            }
        }
        events
    }

    proptest! {
        #[test]
        fn any_event_is_read_as_one_and_as_itself(
            data in "[a :\r\n\u{e9}]{0,20}", name in "[a :\u{e9}]{0,5}", id in "[a :\u{e9}]{0,5}",
        ) {
            let event = Event::new(&*data).name(&name).id(&id);
            let lines = data.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(read(&text(&event)), [(id, name, lines)]);
        }
    }
}
