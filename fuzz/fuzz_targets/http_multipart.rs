//! Octets from a client, as the body of a `multipart/form-data` form.
//!
//! Beyond not crashing: how the body is cut does not change what is read, nor whether it is refused;
//! all input is consumed; what was read can be written and is read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_http::forms::{FormError, FormLimits, MultipartDecoder, MultipartPiece, Part};

const BOUNDARY: &str = "bo-u";

fuzz_target!(|input: &[u8]| {
    let Some((&step, octets)) = input.split_first() else { return };
    let whole = decode(octets, octets.len().max(1));
    assert_eq!(
        whole,
        decode(octets, usize::from(step).max(1)),
        "cutting the body changed its meaning"
    );
    let Ok(parts) = whole else { return };
    for (part, _) in &parts {
        let name = part.file_name.as_deref().unwrap_or_default();
        assert!(!name.contains(['/', '\\', '\0']) && name != "." && name != "..", "{name:?}");
    }
    // Under other names: how clients escape theirs is another matter.
    let mut wire = Vec::new();
    for (number, (part, data)) in parts.iter().enumerate() {
        let file = if part.file_name.is_some() { "; filename=f" } else { "" };
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name={number}{file}\r\n\r\n");
        wire.extend_from_slice(head.as_bytes());
        wire.extend_from_slice(data);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(format!("--{BOUNDARY}--").as_bytes());
    let Ok(again) = decode(&wire, wire.len()) else {
        // Other names may make the fields too large, or the whole.
        return;
    };
    assert_eq!(again.len(), parts.len());
    for (number, ((part, data), (before, content))) in again.iter().zip(&parts).enumerate() {
        assert_eq!(part.name, number.to_string());
        assert_eq!(part.file_name.is_some(), before.file_name.is_some());
        assert_eq!(data, content);
    }
});

/// Decodes `wire`, given out `step` octets at a time.
fn decode(wire: &[u8], step: usize) -> Result<Vec<(Part, Vec<u8>)>, FormError> {
    let limits = FormLimits::new().parts(20).part_head(300).fields(400).file(500).total(4000);
    let mut decoder = MultipartDecoder::new(BOUNDARY, limits)?;
    let mut parts = Vec::new();
    for mut piece in wire.chunks(step) {
        loop {
            let (used, found) = decoder.decode(piece)?;
            match found {
                MultipartPiece::NeedMore => {
                    assert_eq!(used, piece.len(), "something was left");
                    break;
                }
                MultipartPiece::PartStarted(part) => parts.push((part, Vec::new())),
                MultipartPiece::Data(data) => {
                    assert!(!data.is_empty());
                    let (_, content) = parts.last_mut().expect("data is of a part");
                    content.extend_from_slice(data);
                }
                MultipartPiece::PartEnded | MultipartPiece::Ended => {}
            }
            piece = &piece[used..];
        }
    }
    decoder.finish().map(|()| parts)
}
