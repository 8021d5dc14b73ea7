//! What is found, what is refused, and what the head says of it.

use super::*;
use crate::Routes;

#[test]
fn a_file_comes_with_its_type_length_and_validators() {
    let files = StaticFiles::of(tree(&[("a/page.html", "<p>hello")]));
    let mut harness = harness(files);
    for bytewise in [false, true] {
        let wire = b"GET /a/page.html?v=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        if bytewise {
            harness.feed_bytewise(wire)
        } else {
            harness.feed(wire)
        }
        harness.advance(Duration::from_secs(1));
        assert_eq!(
            String::from_utf8_lossy(&harness.written()),
            format!(
                "HTTP/1.1 200 OK\r\nETag: \"1-8-{:x}\"\r\n\
                 Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nAccept-Ranges: bytes\r\n\
                 X-Content-Type-Options: nosniff\r\nContent-Type: text/html; charset=utf-8\r\n\
                 Content-Length: 8\r\n\r\n<p>hello",
                784_111_777_000_000_000_u64
            )
        );
    }
}

#[test]
fn head_is_get_without_the_body_and_nothing_is_read_for_it() {
    let content = "x".repeat(200_000);
    for (path, length) in [("small", 5), ("large", 200_000)] {
        let read = Arc::default();
        let tree = tree(&[("small", "hello"), ("large", &content)]);
        let counting = Counting { tree, opened: Arc::default(), read: Arc::clone(&read) };
        let mut harness = harness(StaticFiles::of(counting));
        let head = ask(&mut harness, &format!("HEAD /{path}"), "Range: bytes=0-1\r\n");
        assert_eq!(read.load(Ordering::Relaxed), 0);
        let get = ask(&mut harness, &format!("GET /{path}"), "");
        assert_eq!((head.body.len(), get.body.len()), (0, length));
        assert_eq!(head.head, get.head, "a range means nothing to HEAD");
    }
}

#[test]
fn other_methods_are_told_what_there_is() {
    let mut harness = harness(StaticFiles::of(tree(&[("a", "a")])));
    for line in ["POST /a", "DELETE /a", "OPTIONS /a", "OPTIONS *", "PUT /missing"] {
        let reply = ask(&mut harness, line, "");
        assert_eq!((reply.status(), reply.field("Allow")), ("405", Some("GET, HEAD")), "{line}");
    }
    let reply = ask(&mut harness, "PUT /a", "Expect: 100-continue\r\nContent-Length: 9\r\n");
    assert_eq!(reply.status(), "405", "the body is not asked for");
}

#[test]
fn paths_that_name_nothing_are_all_the_same_404() {
    let files = StaticFiles::of(tree(&[
        ("a/b", "b"),
        (".git/config", "secret"),
        ("a/.env", "secret"),
        ("a/index.html", "index"),
    ]));
    let missing = get(&files, "/missing");
    assert_eq!(missing.status(), "404");
    for target in [
        "/a/b/",
        "/a/b/c",
        "/../a/b",
        "/a/../a/b",
        "/%2e%2e/a/b",
        "/a%2fb",
        "/a/%2E%2E/a/b",
        "//a/b",
        "/a//b",
        "/a\\b",
        "/a%5Cb",
        "/a/b%00",
        "/.git/config",
        "/%2egit/config",
        "/a/.env",
        "/./a/b",
        "http://x/../a/b",
    ] {
        assert_eq!(get(&files, target), missing, "{target}");
    }
    for target in ["/%", "/a%2", "/%zz/b"] {
        assert_eq!(get(&files, target).status(), "400", "{target}");
    }
    assert_eq!(get(&files.clone().hidden(true), "/a/.env").text(), "secret");
    assert_eq!(get(&files, "http://x/a/b").text(), "b");
    assert_eq!(get(&files, "/%61/%62").text(), "b");
}

#[test]
fn a_directory_has_a_slash_and_an_index() {
    let files = StaticFiles::of(tree(&[
        ("index.html", "top"),
        ("a/home.htm", "home"),
        ("a/index.html", "index"),
        ("b/file", "file"),
        ("c/index.html/d", "a directory that is called so"),
    ]));
    assert_eq!(get(&files, "/").text(), "top");
    assert_eq!(get(&files, "http://x").text(), "top");
    let reply = get(&files, "/a?q=/x");
    assert_eq!((reply.status(), reply.field("Location")), ("301", Some("/a/?q=/x")));
    assert_eq!(get(&files, "/a/").text(), "index");
    assert_eq!(get(&files, "/a/").field("Content-Type"), Some("text/html; charset=utf-8"));
    let files = files.index(["home.htm", "index.html"]);
    assert_eq!(get(&files, "/a/").text(), "home");
    assert_eq!(get(&files, "/").text(), "top");
    assert_eq!(get(&files, "/b/").status(), "403");
    assert_eq!(get(&files, "/c/").status(), "403");
}

#[test]
fn a_redirection_never_names_another_host() {
    let files = StaticFiles::of(tree(&[("evil.example/index.html", "x")]));
    for target in ["//evil.example", "///evil.example", "/%2fevil.example", "/\\evil.example"] {
        let reply = get(&files, target);
        assert_eq!((reply.status(), reply.field("Location")), ("404", None), "{target}");
    }
    assert_eq!(get(&files, "/evil.example").field("Location"), Some("/evil.example/"));
}

#[test]
fn below_a_mount_the_rest_of_the_path_names_the_file() {
    let files = StaticFiles::of(tree(&[("index.html", "top"), ("a/index.html", "index")]));
    let mut harness = Harness::new(HttpServer::with_config(
        Arc::new(Config::new().date(false)),
        Routes::new().mount("/static", files.listing(true)),
    ));
    assert_eq!(ask(&mut harness, "GET /static/", "").text(), "top");
    assert_eq!(ask(&mut harness, "GET /static/a/", "").text(), "index");
    let locations = ["/static", "/static/a?q"].map(|target| {
        let reply = ask(&mut harness, &format!("GET {target}"), "");
        (reply.status().to_owned(), reply.field("Location").map(str::to_owned))
    });
    let to = |location: &str| ("301".to_owned(), Some(location.to_owned()));
    assert_eq!(locations, [to("/static/"), to("/static/a/?q")]);
    assert_eq!(ask(&mut harness, "GET /static/../static/a/", "").status(), "404");
    assert_eq!(ask(&mut harness, "GET /static//a/", "").status(), "404");
}

#[test]
fn a_listing_shows_what_is_served_and_only_if_it_is_asked_for() {
    let files = StaticFiles::of(tree(&[
        ("a/<b>.txt", "12345"),
        ("a/.hidden", ""),
        ("a/c/d", ""),
        ("a/c-d", ""),
    ]));
    let files = files.listing(true);
    let reply = get(&files, "/a/");
    assert_eq!(reply.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(reply.field("Content-Security-Policy"), Some("default-src 'none'"));
    let page = reply.text();
    assert!(page.contains("<a href=\"./%3Cb%3E.txt\">&lt;b&gt;.txt</a></td><td>5</td>"), "{page}");
    assert!(page.contains("<a href=\"./c/\">c/</a>"), "{page}");
    assert!(page.contains("../") && !page.contains(".hidden"), "{page}");
    assert_eq!(page.matches("./c").count(), 2, "{page}");
    let top = get(&files, "/");
    assert!(top.text().contains("./a/") && !top.text().contains("../"), "{}", top.text());
    assert!(get(&files.hidden(true), "/a/").text().contains(".hidden"));
}

#[test]
fn conditions_spare_what_the_client_has() {
    let files = StaticFiles::of(tree(&[("a.css", "a {}")])).cache_control("max-age=60");
    let first = get(&files, "/a.css");
    assert_eq!(first.field("Cache-Control"), Some("max-age=60"));
    let tag = first.field("ETag").expect("it has one");
    let reply = get_with(&files, "/a.css", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((reply.status(), &reply.body[..]), ("304", &b""[..]));
    for name in ["ETag", "Cache-Control", "Last-Modified"] {
        assert_eq!(reply.field(name), first.field(name), "{name}");
    }
    assert_eq!((reply.field("Content-Length"), reply.field("Content-Type")), (None, None));
    let since = format!("If-Modified-Since: {}\r\n", first.field("Last-Modified").expect("it has"));
    assert_eq!(get_with(&files, "/a.css", &since).status(), "304");
    let other = get_with(&files, "/a.css", "If-Match: \"x\"\r\n");
    assert_eq!((other.status(), other.field("Cache-Control")), ("412", None));
    let missing = get_with(&files, "/b.css", "If-None-Match: *\r\n");
    assert_eq!(missing.status(), "404", "a condition is for what is there");
}

#[test]
fn what_has_just_changed_has_a_weak_tag() {
    let tree = MemoryTree::new();
    let mut harness = harness(StaticFiles::of(tree.clone()));
    let now = harness.reactor().wall_clock();
    tree.insert("a", "1", now + Duration::from_millis(1));
    let weak = ask(&mut harness, "GET /a", "").field("ETag").map(str::to_owned).expect("it has");
    harness.advance(Duration::from_secs(2));
    let strong = ask(&mut harness, "GET /a", "").field("ETag").map(str::to_owned).expect("it has");
    assert_eq!(weak, format!("W/{strong}"));
    assert_eq!(ask(&mut harness, "GET /a", &format!("If-None-Match: {weak}\r\n")).status(), "304");
}

#[test]
fn the_compressed_file_next_to_it_goes_to_who_takes_it() {
    let tree = tree(&[("a.css", "plain"), ("b.css", "plain"), ("c.css", "plain")]);
    let late = then() + Duration::from_secs(1);
    tree.insert("a.css.gz", "gzip", late);
    tree.insert("a.css.br", "brotli", late);
    tree.insert("b.css.zst", "zstd", then());
    tree.insert("c.css.gz", "stale", then() - Duration::from_secs(1));
    let off = StaticFiles::of(tree);
    let on = off.clone().precompressed(true);
    for (target, accepted, coding, body) in [
        ("/a.css", "", None, "plain"),
        ("/a.css", "Accept-Encoding: gzip\r\n", Some("gzip"), "gzip"),
        ("/a.css", "Accept-Encoding: gzip, br\r\n", Some("br"), "brotli"),
        ("/a.css", "Accept-Encoding: gzip, br;q=0.9\r\n", Some("gzip"), "gzip"),
        ("/a.css", "Accept-Encoding: zstd\r\n", None, "plain"),
        ("/a.css", "Accept-Encoding: br;q=0\r\n", None, "plain"),
        ("/b.css", "Accept-Encoding: gzip, zstd\r\n", Some("zstd"), "zstd"),
        ("/c.css", "Accept-Encoding: gzip\r\n", None, "plain"),
    ] {
        let reply = get_with(&on, target, accepted);
        assert_eq!((reply.field("Content-Encoding"), reply.text()), (coding, body), "{accepted}");
        assert_eq!(reply.field("Content-Type"), Some("text/css; charset=utf-8"));
        assert_eq!(reply.field("Vary"), Some("Accept-Encoding"));
        let plain = get_with(&off, target, accepted);
        assert_eq!((plain.text(), plain.field("Vary")), ("plain", None));
        assert_eq!(plain.field("ETag") == reply.field("ETag"), coding.is_none(), "{accepted}");
    }
    // A range is of what is sent, and so is a condition.
    let tag = get_with(&on, "/a.css", "Accept-Encoding: gzip\r\n");
    let tag = tag.field("ETag").expect("it has one");
    let fields = format!("Accept-Encoding: gzip\r\nRange: bytes=2-\r\nIf-Range: {tag}\r\n");
    let reply = get_with(&on, "/a.css", &fields);
    assert_eq!((reply.status(), reply.text()), ("206", "ip"));
    let reply = get_with(&on, "/a.css", &format!("Range: bytes=2-\r\nIf-Range: {tag}\r\n"));
    assert_eq!((reply.status(), reply.text()), ("200", "plain"));
}

#[test]
fn a_type_of_ones_own_goes_before_the_usual_one() {
    let files = StaticFiles::of(tree(&[("a.txt", ""), ("b.rope", "")]));
    let files = files.media_type("TXT", "text/x-own").media_type("rope", "text/x-rope");
    assert_eq!(get(&files, "/a.txt").field("Content-Type"), Some("text/x-own"));
    assert_eq!(get(&files, "/b.rope").field("Content-Type"), Some("text/x-rope"));
}

/// A tree whose disk has a mind of its own.
struct Broken(std::io::ErrorKind);

impl FileTree for Broken {
    fn open(&self, _: &Path) -> std::io::Result<Node> {
        Err(self.0.into())
    }

    fn list(&self, _: &Path, _: usize) -> std::io::Result<Vec<Entry>> {
        Err(self.0.into())
    }
}

#[test]
fn what_the_disk_says_is_told_without_a_word_on_why() {
    use std::io::ErrorKind;
    for (kind, status) in [
        (ErrorKind::NotFound, "404"),
        (ErrorKind::NotADirectory, "404"),
        (ErrorKind::PermissionDenied, "403"),
        (ErrorKind::TimedOut, "500"),
    ] {
        let reply = get(&StaticFiles::of(Broken(kind)), "/a");
        assert_eq!(reply.status(), status);
        assert!(reply.text().starts_with(status) && reply.text().lines().count() == 1);
    }
}
