use proptest::prelude::*;

use super::*;

/// What came out, with the data of a part joined.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    parts: Vec<(Part, Vec<u8>)>,
    ended: bool,
}

/// Decodes `wire`, given out in pieces that end at `cuts`.
fn decode_cut(
    boundary: &str,
    limits: &FormLimits,
    wire: &[u8],
    cuts: &[usize],
) -> Result<Got, FormError> {
    let mut decoder = MultipartDecoder::new(boundary, limits.clone())?;
    let mut got = Got { parts: Vec::new(), ended: false };
    let mut is_open = false;
    let mut from = 0;
    for &to in cuts.iter().chain([&wire.len()]) {
        let mut piece = &wire[from..to];
        loop {
            let (used, found) = decoder.decode(piece)?;
            match found {
                MultipartPiece::NeedMore => {
                    assert_eq!(used, piece.len(), "all is consumed");
                    break;
                }
                MultipartPiece::PartStarted(part) => {
                    assert!(!is_open && !got.ended);
                    is_open = true;
                    got.parts.push((part, Vec::new()));
                }
                MultipartPiece::Data(data) => {
                    assert!(is_open && !data.is_empty());
                    got.parts.last_mut().expect("it is open").1.extend_from_slice(data);
                }
                MultipartPiece::PartEnded => {
                    assert!(is_open);
                    is_open = false;
                }
                MultipartPiece::Ended => {
                    assert!(!is_open && !got.ended);
                    got.ended = true;
                }
            }
            piece = &piece[used..];
        }
        from = to;
    }
    decoder.finish().map(|()| got)
}

/// Decodes it whole and one byte at a time: both must come to the same.
fn decode_within(limits: &FormLimits, wire: &[u8]) -> Result<Got, FormError> {
    let whole = decode_cut("AaB03x", limits, wire, &[]);
    let cuts: Vec<_> = (1..wire.len()).collect();
    assert_eq!(decode_cut("AaB03x", limits, wire, &cuts), whole, "{wire:?}");
    whole
}

fn decode(wire: &[u8]) -> Result<Got, FormError> {
    decode_within(&FormLimits::new(), wire)
}

/// One field's head.
const HEAD: &str = "Content-Disposition: form-data; name=\"a\"\r\n\r\n";

fn contents(wire: &str) -> Result<Vec<String>, FormError> {
    let got = decode(wire.replace("HEAD", HEAD).as_bytes())?;
    Ok(got.parts.into_iter().map(|(_, data)| String::from_utf8_lossy(&data).into()).collect())
}

#[test]
fn fields_and_files_come_out_as_they_went_in() {
    let wire = b"--AaB03x\r\nContent-Disposition: form-data; name=\"field1\"\r\n\r\nJoe owes\r\n\
                 --AaB03x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n\0\r\n\r--AaB03x\r\n--AaB03\r\n\r\n\
                 --AaB03x--\r\n";
    let got = decode(wire).expect("it is well-formed");
    assert!(got.ended);
    let [(field, text), (file, data)] = &got.parts[..] else { panic!("{got:?}") };
    assert_eq!((&*field.name, &field.file_name, &text[..]), ("field1", &None, &b"Joe owes"[..]));
    assert_eq!((&*file.name, file.file_name.as_deref()), ("f", Some("a.bin")));
    assert_eq!(file.content_type.as_deref(), Some("application/octet-stream"));
    assert_eq!(&data[..], b"\0\r\n\r--AaB03x\r\n--AaB03\r\n");
}

#[test]
fn what_is_before_and_behind_means_nothing() {
    for (wire, expected) in [
        ("--AaB03x\r\nHEAD1\r\n--AaB03x--", &["1"][..]),
        ("\r\n--AaB03x\r\nHEAD1\r\n--AaB03x--\r\n", &["1"]),
        ("pre --AaB03x\r\n\r\n--AaB03x\r\nHEAD1\r\n--AaB03x--", &["1"]),
        ("-AaB03x\r\n--AaB03x\r\nHEAD1\r\n--AaB03x-- \r\n--AaB03x\r\nHEAD2", &["1"]),
        ("--AaB03x \t \r\nHEAD1\r\n--AaB03x\t\r\nHEAD2\r\n--AaB03x--", &["1", "2"]),
        ("--AaB03x\r\nHEAD\r\n--AaB03x--", &[""]),
        // A part without content: its head's empty line is the delimiter's.
        ("--AaB03x\r\nHEAD--AaB03x\r\nHEAD2\r\n--AaB03x--", &["", "2"]),
        ("--AaB03x\r\nHEAD--AaB03\r\n--AaB03x--", &["--AaB03"]),
        ("--AaB03x\r\nHEAD\r\n\r\n\r\n--AaB03x--", &["\r\n\r\n"]),
        ("--AaB03x--\r\n", &[]),
    ] {
        assert_eq!(contents(wire).as_deref(), Ok(&expected.map_strings()[..]), "{wire:?}");
    }
}

trait MapStrings {
    fn map_strings(&self) -> Vec<String>;
}

impl MapStrings for [&str] {
    fn map_strings(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn what_is_malformed_is_refused_and_says_why() {
    for (wire, error) in [
        ("", FormError::Truncated),
        ("a=b&c=d", FormError::Truncated),
        ("--AaB03x", FormError::Truncated),
        ("--AaB03x-", FormError::Truncated),
        ("--AaB03x\r\nHEAD", FormError::Truncated),
        ("--AaB03x\r\nHEAD1", FormError::Truncated),
        ("--AaB03x\r\nHEAD1\r\n--AaB03x\r\n", FormError::Truncated),
        ("--AaB03x\nHEAD1\r\n--AaB03x--", FormError::Delimiter),
        ("--AaB03x\r HEAD1\r\n--AaB03x--", FormError::Delimiter),
        ("--AaB03xy\r\nHEAD1\r\n--AaB03x--", FormError::Delimiter),
        ("--AaB03x -\r\nHEAD1\r\n--AaB03x--", FormError::Delimiter),
        ("--AaB03x-\r\nHEAD1\r\n--AaB03x--", FormError::Delimiter),
        ("--AaB03x\r\nHEAD1\r\n--AaB03xx--", FormError::Delimiter),
        ("--AaB03x\r\nHEAD1\n--AaB03x--\n", FormError::Truncated),
        ("--AaB03x\r\n\r\n1\r\n--AaB03x--", FormError::Disposition),
        ("--AaB03x\r\nX: y\r\n\r\n1\r\n--AaB03x--", FormError::Disposition),
        ("--AaB03x\r\n\r\nX: y\r\n\r\n1\r\n--AaB03x--", FormError::Disposition),
        ("--AaB03x\r\nno field\r\n\r\n1\r\n--AaB03x--", FormError::PartHead),
        ("--AaB03x\r\nX: y\r\n--AaB03x--\r\n\r\n", FormError::PartHead),
    ] {
        assert_eq!(contents(wire), Err(error), "{wire:?}");
    }
    let longest = "b".repeat(70);
    for good in [&longest, "a", "'()+_,-./:=? 9"] {
        assert!(MultipartDecoder::new(good, FormLimits::new()).is_ok(), "{good}");
    }
    for bad in [&*format!("{longest}b"), "", "a ", "a\r", "a\"", "caf\u{e9}", "a;b"] {
        let error = MultipartDecoder::new(bad, FormLimits::new()).err();
        assert_eq!(error, Some(FormError::Boundary), "{bad}");
    }
}

#[test]
fn each_limit_holds_to_the_byte() {
    let file = "Content-Disposition: form-data; name=f; filename=g\r\n\r\n";
    let wire = format!(
        "--AaB03x\r\n{HEAD}123\r\n--AaB03x\r\n{HEAD}4567\r\n--AaB03x\r\n{file}12345678\r\n\
         --AaB03x\r\n{file}1\r\n--AaB03x--\r\n"
    );
    let wire = wire.as_bytes();
    let new = FormLimits::new;
    for (within, above, error) in [
        (new().parts(4), new().parts(3), FormError::TooManyParts),
        // Two names of one byte each count, too.
        (new().fields(9), new().fields(8), FormError::FieldsTooLarge),
        (new().file(8), new().file(7), FormError::FileTooLarge),
        (new().part_head(file.len()), new().part_head(file.len() - 1), FormError::PartHeadTooLarge),
        (new().total(wire.len() as u64), new().total(wire.len() as u64 - 1), FormError::TooLarge),
    ] {
        assert!(decode_within(&within, wire).is_ok(), "{within:?}");
        assert_eq!(decode_within(&above, wire), Err(error));
        assert_eq!(error.status().code(), 413);
    }
    let endless = [b"--AaB03x\r\n", &b"X".repeat(100_000)[..]].concat();
    assert_eq!(decode(&endless), Err(FormError::PartHeadTooLarge));
}

/// As a client writes it, with nothing clever.
fn encode(boundary: &str, parts: &[(String, Option<String>, Vec<u8>)]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (name, file_name, data) in parts {
        let file_name = file_name.as_ref().map(|name| format!("; filename=\"{name}\""));
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{}\r\n\r\n",
            file_name.unwrap_or_default()
        );
        wire.extend_from_slice(head.as_bytes());
        wire.extend_from_slice(data);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    wire
}

/// Content that is full of what is nearly a boundary.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n--bo".to_vec()),
        Just(b"\r\n--".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"--bou".to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_form_comes_out_as_it_went_in_however_it_is_cut(
        parts in prop::collection::vec(
            ("[a-z0-9 ]{1,8}", proptest::option::of("[a-z.]{0,4}[a-z]"), content()), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let boundary = "bou-nd";
        let delimiter = b"\r\n--bou-nd";
        prop_assume!(parts.iter().all(|(_, _, data)| {
            let data = [b"\r\n", &data[..], b"\r\n"].concat();
            memchr::memmem::find(&data, delimiter).is_none()
        }));
        let wire = encode(boundary, &parts);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        cuts.sort_unstable();
        let got = decode_cut(boundary, &FormLimits::new(), &wire, &cuts);
        let got = got.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let out: Vec<_> = got.parts.into_iter()
            .map(|(part, data)| (part.name, part.file_name, data)).collect();
        prop_assert_eq!(out, parts);
        prop_assert!(got.ended);
    }
}
