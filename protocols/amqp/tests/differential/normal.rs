//! What a broker chooses by chance or by the clock, replaced by what it stands for: the first
//! server-named queue that a script sees is `amq.gen-#1` on both.

use std::collections::BTreeMap;

/// The names that a broker made, in the order in which they were seen.
#[derive(Default)]
pub(crate) struct Names {
    seen: BTreeMap<String, usize>,
}

/// What the names begin with that a broker makes.
const MADE: [&str; 3] = ["amq.gen-", "amq.ctag-", "amq.rabbitmq.reply-to."];

impl Names {
    pub(crate) fn normalise(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for prefix in MADE {
            let mut from = 0;
            while let Some(at) = text[from..].find(prefix) {
                let start = from + at;
                let chance = &text[start + prefix.len()..];
                let end = chance.find(['\'', '"', '\\', ' ']).unwrap_or(chance.len());
                let end = start + prefix.len() + end;
                let name = text[start..end].to_owned();
                let count = self.seen.len() + 1;
                let number = *self.seen.entry(name).or_insert(count);
                let short = format!("{prefix}#{number}");
                text.replace_range(start..end, &short);
                from = start + short.len();
            }
        }
        without_times(text)
    }
}

/// The seconds in `x-death`.
fn without_times(mut text: String) -> String {
    let mut from = 0;
    while let Some(at) = text[from..].find("Timestamp(") {
        let start = from + at + "Timestamp(".len();
        let end = start + text[start..].find(')').unwrap_or(0);
        // Of the present: the scripts' own are small.
        if end - start >= 10 {
            text.replace_range(start..end, "now");
        }
        from = start;
    }
    text
}

#[test]
fn a_made_name_has_the_same_number_wherever_it_is_seen() {
    let mut names = Names::default();
    let one = "queue 'amq.gen-abcdefghijklmnopqrstuv'";
    assert_eq!(names.normalise(one), "queue 'amq.gen-#1'");
    assert_eq!(names.normalise("amq.ctag-abcdefghijklmnopqrstuv"), "amq.ctag-#2");
    assert_eq!(names.normalise(one), "queue 'amq.gen-#1'");
    assert_eq!(names.normalise("{\"time\": Timestamp(1700000000)}"), "{\"time\": Timestamp(now)}");
    assert_eq!(names.normalise("Timestamp(7)"), "Timestamp(7)");
}
