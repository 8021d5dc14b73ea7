use std::sync::Arc;

use ropewalk_reactor::testing::Harness;

use super::*;
use crate::{Config, HttpServer};

fn say(text: &'static str) -> impl Handler {
    move |request: &Request| {
        let names = ["id", "name", "tail"];
        let found = names.iter().filter_map(|name| request.parameter(name));
        let values: Vec<_> = found.collect();
        format!("{text} {} {}", values.join(","), request.remaining_path())
    }
}

/// The status, the body, and Allow.
fn ask(routes: Routes, method: &str, path: &str) -> (u16, String, Option<String>) {
    let config = Arc::new(Config::new().date(false));
    let mut harness = Harness::new(HttpServer::with_config(config, routes));
    let body = if method == "POST" { "Content-Length: 2\r\n\r\nhi" } else { "\r\n" };
    harness.feed(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{body}").as_bytes());
    let written = String::from_utf8_lossy(&harness.written()).into_owned();
    let (head, body) = written.split_once("\r\n\r\n").expect("a response");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let allow = head.lines().find_map(|line| line.strip_prefix("Allow: ")).map(str::to_owned);
    (status.expect("a status"), body.to_owned(), allow)
}

fn table() -> Routes {
    Routes::new()
        .get("/", say("root"))
        .get("/users", say("users"))
        .post("/users", say("new"))
        .get("/users/{id}", say("user"))
        .get("/users/me", say("me"))
        .delete("/users/me", say("gone"))
        .put("/users/{name}/mail", say("mail"))
        .get("/users/{id}/", say("slash"))
        .any("/any", say("any"))
        .get("/any", say("any-get"))
        .mount("/files", say("files"))
        .get("/files/list", say("list"))
        .mount("/of/{id}", say("of"))
        .get("/a b/%", say("odd"))
}

#[test]
fn the_most_particular_pattern_wins_and_parameters_are_decoded() {
    for (method, path, body) in [
        ("GET", "/", "root  /"),
        ("GET", "/?q", "root  /"),
        ("GET", "http://a", "root  /"),
        ("GET", "/users", "users  /users"),
        ("POST", "/users", "new  /users"),
        ("GET", "/users/7", "user 7 /users/7"),
        ("GET", "/users/a%2Fb%20c", "user a/b c /users/a%2Fb%20c"),
        ("GET", "/users/me", "me  /users/me"),
        ("GET", "/users/%6De", "me  /users/%6De"),
        ("GET", "/users/7/", "slash 7 /users/7/"),
        // A literal that has no handler for the method gives way to a parameter that has.
        ("PUT", "/users/me/mail", "mail me /users/me/mail"),
        ("DELETE", "/any", "any  /any"),
        ("GET", "/any", "any-get  /any"),
        ("GET", "/files", "files  /"),
        ("GET", "/files/", "files  /"),
        ("POST", "/files/a/../b%2F", "files  /a/../b%2F"),
        ("GET", "/files/%ff", "files  /%ff"),
        ("GET", "/files/list", "list  /files/list"),
        ("GET", "/files/list/x", "files  /list/x"),
        ("GET", "/of/5/x/y", "of 5 /x/y"),
        ("GET", "/a%20b/%25", "odd  /a%20b/%25"),
    ] {
        assert_eq!(ask(table(), method, path), (200, body.to_owned(), None), "{method} {path}");
    }
}

#[test]
fn what_fits_nothing_is_not_found_and_what_fits_another_method_says_so() {
    for (method, path, status, allow) in [
        ("GET", "/nothing", 404, None),
        ("GET", "/users/", 404, None),
        ("GET", "/users/7/8", 404, None),
        ("GET", "/Users", 404, None),
        ("GET", "//users", 404, None),
        ("GET", "/users/%zz", 400, None),
        ("GET", "/%ff", 400, None),
        ("PATCH", "/users", 405, Some("GET, HEAD, OPTIONS, POST")),
        ("POST", "/users/me", 405, Some("DELETE, GET, HEAD, OPTIONS")),
        ("OPTIONS", "/users", 204, Some("GET, HEAD, OPTIONS, POST")),
        ("OPTIONS", "*", 204, None),
        ("CONNECT", "users:80", 404, None),
    ] {
        let (found, _, allowed) = ask(table(), method, path);
        assert_eq!((found, allowed.as_deref()), (status, allow), "{method} {path}");
    }
    let with_fallback = || table().fallback(say("else"));
    assert_eq!(ask(with_fallback(), "POST", "/no").1, "else  /no");
    assert_eq!(ask(with_fallback(), "PATCH", "/users").0, 405);
    assert_eq!(ask(table(), "HEAD", "/users"), (200, String::new(), None));
}

#[test]
fn routes_within_routes_see_what_is_left_and_all_parameters() {
    let inner = || {
        Routes::new().get("/", say("home")).get("/{name}", say("inner")).mount("/deep", say("deep"))
    };
    let outer = || Routes::new().mount("/of/{id}", inner());
    assert_eq!(ask(outer(), "GET", "/of/1/two").1, "inner 1,two /two");
    assert_eq!(ask(outer(), "GET", "/of/1").1, "home 1 /");
    assert_eq!(ask(outer(), "GET", "/of/1/").1, "home 1 /");
    assert_eq!(ask(outer(), "POST", "/of/1/deep/x").1, "deep 1 /x");
    assert_eq!(ask(outer(), "GET", "/of/1/two/three").0, 404);
}

#[test]
fn a_body_goes_to_the_handler_that_its_head_was_for() {
    let api = || Routes::new().post("/users", say("api"));
    let outer = || {
        Routes::new()
            .get("/users", say("page"))
            .post("/admin", say("admin"))
            .fallback(Routes::new().mount("/api", api().post("/admin", say("api-admin"))))
    };
    assert_eq!(ask(outer(), "POST", "/api/users").1, "api  /users");
    assert_eq!(ask(outer(), "POST", "/api/admin").1, "api-admin  /admin");
    assert_eq!(ask(outer(), "POST", "/admin").1, "admin  /admin");
    assert_eq!(ask(outer(), "POST", "/users").0, 405);
}

#[test]
#[should_panic(expected = "the route GET /a/{b}: there is another one for this path and method")]
fn two_handlers_for_one_path_and_method_are_a_mistake() {
    let _ = Routes::new().get("/a/{a}", say("1")).get("/a/{b}", say("2"));
}
