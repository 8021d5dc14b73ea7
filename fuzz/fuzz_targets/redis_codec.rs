//! Requests and replies of Redis: whole, cut in two, and byte by byte they are read the same; what
//! was understood of a request is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_redis::codec::{
    ReplyDecoder, ReplyLimits, RequestDecoder, RequestLimits, encode_command,
};

fn requests<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<Vec<u8>>>, bool) {
    let (mut decoder, mut data, mut came) =
        (RequestDecoder::new(RequestLimits::default()), Vec::new(), Vec::new());
    for chunk in chunks {
        data.extend_from_slice(chunk);
        loop {
            let used = match decoder.decode(&data) {
                Err(_) => return (came, false),
                Ok(None) => break,
                Ok(Some((request, used))) => {
                    came.push(request.from(0).map(<[u8]>::to_vec).collect());
                    used
                }
            };
            data.drain(..used);
        }
    }
    (came, true)
}

/// As text: a NaN is not equal to itself.
fn replies<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
    let (mut decoder, mut data, mut came) =
        (ReplyDecoder::new(ReplyLimits::default()), Vec::new(), Vec::new());
    for chunk in chunks {
        data.extend_from_slice(chunk);
        loop {
            match decoder.decode(&data) {
                Err(error) => return format!("{came:?} {error:?}"),
                Ok((used, value)) => {
                    data.drain(..used);
                    match value {
                        Some(value) => came.push(value),
                        None => break,
                    }
                }
            }
        }
    }
    format!("{came:?}")
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, data)) = data.split_first() else { return };
    let (front, back) = data.split_at(usize::from(cut).min(data.len()));

    let whole = requests([data]);
    assert_eq!(requests([front, back]), whole);
    assert_eq!(requests(data.chunks(1)), whole);
    let mut wire = Vec::new();
    let commands: Vec<_> = whole.0.into_iter().filter(|command| !command.is_empty()).collect();
    for command in &commands {
        encode_command(&mut wire, &command.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    assert_eq!(requests([&wire[..]]), (commands, true));

    let whole = replies([data]);
    assert_eq!(replies([front, back]), whole);
    assert_eq!(replies(data.chunks(1)), whole);
});
