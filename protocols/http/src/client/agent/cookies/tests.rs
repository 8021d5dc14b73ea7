//! What may be set by whom, and what is told to whom.

use std::time::UNIX_EPOCH;

use super::*;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

fn later(seconds: u64) -> SystemTime {
    now() + Duration::from_secs(seconds)
}

#[test]
fn a_cookie_goes_to_its_host_and_path_alone_unless_it_says_more() {
    let jar = CookieJar::new();
    assert!(jar.set("http://www.a.test/dir/page", "one=1", now()));
    assert!(jar.set("http://www.a.test/", "all=2; Domain=.A.test; Path=/", now()));
    for (url, expected) in [
        ("http://www.a.test/dir/other", Some("one=1; all=2")),
        ("http://www.a.test/dir", Some("one=1; all=2")),
        ("http://www.a.test/director", Some("all=2")),
        ("http://www.a.test/", Some("all=2")),
        ("http://a.test/", Some("all=2")),
        ("http://x.y.a.test/", Some("all=2")),
        ("http://nota.test/", None),
        ("http://b.test/", None),
    ] {
        assert_eq!(jar.header(url, now()).as_deref(), expected, "{url}");
    }
}

#[test]
fn nobody_sets_a_cookie_for_others() {
    let jar = CookieJar::new().public_suffixes(|domain| domain == "co.test");
    for (url, set) in [
        ("http://a.test/", "x=1; Domain=b.test"),
        ("http://a.test/", "x=1; Domain=www.a.test"),
        ("http://a.test/", "x=1; Domain=test"),
        ("http://a.co.test/", "x=1; Domain=co.test"),
        ("http://10.0.0.1/", "x=1; Domain=0.0.1"),
        ("http://a.test/", "x=1; Secure"),
        ("http://a.test/", "__Secure-x=1"),
        ("https://a.test/", "__Secure-x=1"),
        ("https://www.a.test/", "__Host-x=1; Secure; Path=/; Domain=a.test"),
        ("https://a.test/", "__Host-x=1; Secure; Path=/dir"),
        ("https://a.test/dir/x", "__host-x=1; Secure"),
        ("http://a.test/", "=; Path=/"),
        ("http://a.test/", "x=a\u{1}b"),
    ] {
        assert!(!jar.set(url, set, now()), "{url} {set}");
    }
    assert!(!jar.set("http://a.test/", &format!("x={}", "y".repeat(5000)), now()));
    assert!(jar.is_empty());
    for (url, set) in [
        ("http://localhost/", "x=1; Domain=localhost"),
        ("http://10.0.0.1/", "x=1; Domain=10.0.0.1"),
        ("http://co.test/", "x=1; Domain=co.test"),
        ("https://a.test/", "__Host-x=1; Secure; Path=/"),
    ] {
        assert!(jar.set(url, set, now()), "{url} {set}");
    }
    assert!(jar.cookies().iter().all(|cookie| cookie.host_only));
}

#[test]
fn what_is_secure_is_told_over_https_alone() {
    let jar = CookieJar::new();
    assert!(jar.set("https://a.test/", "s=1; secure", now()));
    assert_eq!(jar.header("https://a.test/", now()).as_deref(), Some("s=1"));
    assert_eq!(jar.header("http://a.test/", now()), None);
}

#[test]
fn a_cookie_ends_when_it_says_and_is_taken_back() {
    let jar = CookieJar::new();
    assert!(jar.set(
        "http://a.test/",
        "x=1; Max-Age=10; Expires=Thu, 01 Jan 2099 00:00:00 GMT",
        now()
    ));
    assert_eq!(jar.header("http://a.test/", later(9)).as_deref(), Some("x=1"));
    assert_eq!(jar.header("http://a.test/", later(10)), None);
    assert!(jar.set("http://a.test/", "x=2", now()));
    assert_eq!(jar.header("http://a.test/", later(10_000)).as_deref(), Some("x=2"));
    assert!(jar.set("http://a.test/", "x=; Expires=Thu, 01 Jan 1970 00:00:01 GMT", now()));
    assert!(jar.is_empty());
    assert!(jar.set("http://a.test/", "x=3; Max-Age=99999999999999999999999", now()));
    assert_eq!(jar.header("http://a.test/", now() + MAX_AGE), None, "400 days at most");
    assert!(jar.set("http://a.test/", "x=4; Max-Age=-1", now()));
    assert!(jar.is_empty());
}

#[test]
fn a_jar_is_bounded() {
    let jar = CookieJar::new();
    for number in 0..60 {
        assert!(jar.set("http://a.test/", &format!("n{number}=x"), now()));
    }
    assert_eq!(jar.len(), MAX_PER_DOMAIN);
    assert!(jar.header("http://a.test/", now()).is_some_and(|all| all.starts_with("n10=x")));
    for number in 0..4000 {
        assert!(jar.set(&format!("http://h{number}.test/"), "x=1", now()));
    }
    assert_eq!(jar.len(), MAX_COOKIES);
}

#[test]
fn what_was_saved_can_be_put_back() {
    let jar = CookieJar::new();
    assert!(jar.set("http://a.test/", "x=1; Path=/p", now()));
    let other = CookieJar::new();
    jar.cookies().into_iter().for_each(|cookie| other.insert(cookie));
    assert_eq!(other.header("http://a.test/p", now()).as_deref(), Some("x=1"));
}

#[test]
fn who_listens_on_the_way_sets_no_cookie_of_https() {
    let (jar, now) = (CookieJar::new(), SystemTime::UNIX_EPOCH);
    let url = |text: &str| Url::parse(text).expect("a good URL");
    let secure = url("https://www.example.com/");
    assert!(jar.keep(&secure, "sid=right; Secure; Path=/; Domain=example.com", now));
    for (from, field) in [
        ("http://www.example.com/", "sid=mine; Path=/"),
        ("http://www.example.com/", "sid=mine; Path=/; Domain=example.com"),
        ("http://example.com/", "sid=; Max-Age=0; Path=/; Domain=example.com"),
        ("http://example.com/", "sid=mine; Path=/login"),
    ] {
        assert!(!jar.keep(&url(from), field, now), "{from} {field}");
    }
    assert_eq!(jar.for_url(&secure, now).as_deref(), Some("sid=right"));
    assert!(jar.keep(&url("http://www.example.com/"), "other=1; Path=/", now));
    // What is sent without a name looks like one with a name of promise.
    for field in ["=__Host-sid=evil; Domain=example.com", "=__SECURE-sid=evil", "__host-sid"] {
        assert!(!jar.keep(&secure, field, now), "{field}");
    }
}
