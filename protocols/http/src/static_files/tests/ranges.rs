//! Parts of files (RFC 9110 §14).

use super::*;

const DIGITS: &str = "0123456789";

fn digits() -> StaticFiles {
    StaticFiles::of(tree(&[("digits.txt", DIGITS), ("empty", "")]))
}

fn range(files: &StaticFiles, range: &str) -> Reply {
    get_with(files, "/digits.txt", &format!("Range: {range}\r\n"))
}

#[test]
fn a_single_range_comes_by_itself() {
    let files = digits();
    for (asked, told, body) in [
        ("bytes=0-", "bytes 0-9/10", DIGITS),
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=9-99", "bytes 9-9/10", "9"),
        ("bytes=0-0,1-1", "bytes 0-1/10", "01"),
        ("bytes=99-,5-5", "bytes 5-5/10", "5"),
    ] {
        let reply = range(&files, asked);
        assert_eq!(reply.status(), "206", "{asked}");
        assert_eq!(reply.field("Content-Range"), Some(told), "{asked}");
        assert_eq!(reply.text(), body, "{asked}");
        assert_eq!(reply.field("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(reply.field("Content-Length"), Some(body.len().to_string().as_str()));
    }
}

#[test]
fn what_is_no_range_is_ignored_and_what_is_beyond_the_end_is_416() {
    let files = digits();
    for asked in ["bytes=x", "lines=0-1", "bytes=3-2", "bytes=0-1\r\nRange: bytes=2-3"] {
        let reply = range(&files, asked);
        assert_eq!((reply.status(), reply.text()), ("200", DIGITS), "{asked}");
    }
    let reply = range(&files, "bytes=10-");
    assert_eq!((reply.status(), reply.field("Content-Range")), ("416", Some("bytes */10")));
    let reply = get_with(&files, "/empty", "Range: bytes=0-\r\n");
    assert_eq!((reply.status(), reply.text()), ("200", ""));
}

#[test]
fn several_ranges_come_as_parts_each_with_its_place() {
    let content: String = (0..100_000).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    for length in [2000, 100_000] {
        let content = &content[..length];
        let files = StaticFiles::of(tree(&[("a.txt", content)]));
        let asked = format!("Range: bytes=1000-1099,{}-,5-9\r\n", length - 3);
        let reply = get_with(&files, "/a.txt", &asked);
        assert_eq!(reply.status(), "206");
        let boundary = reply
            .field("Content-Type")
            .and_then(|kind| kind.strip_prefix("multipart/byteranges; boundary="));
        let boundary = boundary.expect("it is multipart");
        assert_eq!(boundary.len(), 32);
        assert_eq!(reply.field("Content-Range"), None, "it is the parts' own");
        let part = |first: usize, last: usize| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Range: bytes {first}-{last}/{length}\r\n\r\n{}",
                &content[first..=last]
            )
        };
        let parts = [part(1000, 1099), part(length - 3, length - 1), part(5, 9)].concat();
        assert_eq!(reply.text(), format!("{parts}\r\n--{boundary}--\r\n"));
        let told = reply.field("Content-Length").expect("it is known");
        assert_eq!(told, reply.body.len().to_string());
    }
}

#[test]
fn parts_that_are_large_are_sent_piece_by_piece() {
    let content: String = (0..900_000).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    let files = StaticFiles::of(tree(&[("a", &content)]));
    let reply = get_with(&files, "/a", "Range: bytes=0-299999,400000-799999\r\n");
    let text = reply.text();
    assert_eq!(reply.field("Content-Length"), Some(text.len().to_string().as_str()));
    let find = |range: &str| text.find(range).map(|at| &text[at + range.len()..]);
    let first = find("bytes 0-299999/900000\r\n\r\n").expect("the first part");
    let second = find("bytes 400000-799999/900000\r\n\r\n").expect("the second part");
    assert!(
        first.starts_with(&content[..300_000]) && second.starts_with(&content[400_000..800_000])
    );
    let reply = get_with(&files, "/a", "Range: bytes=100001-800000\r\n");
    assert!(reply.text() == &content[100_001..=800_000], "a single one");
}

#[test]
fn a_part_is_sent_only_of_the_file_that_the_client_has() {
    let files = digits();
    let tag = get(&files, "/digits.txt").field("ETag").map(str::to_owned).expect("it has one");
    for (condition, status) in [
        (tag.as_str(), "206"),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "206"),
        ("\"other\"", "200"),
        ("Sun, 06 Nov 1994 08:49:38 GMT", "200"),
    ] {
        let fields = format!("Range: bytes=5-\r\nIf-Range: {condition}\r\n");
        assert_eq!(get_with(&files, "/digits.txt", &fields).status(), status, "{condition}");
    }
    let fields = format!("Range: bytes=99-\r\nIf-None-Match: {tag}\r\n");
    assert_eq!(get_with(&files, "/digits.txt", &fields).status(), "304", "conditions go first");
}
