//! Redirections, cookies and proxies: requests that end elsewhere than they began.

use super::*;

fn leads(status: u16, location: &str) -> crate::Response {
    crate::Response::redirect(Status::from_code(status).expect("a status"), location)
}

#[test]
fn redirections_are_followed_on_one_connection_and_the_answer_says_where_it_is_from() {
    let mut world = World::new(Client::builder());
    let asked = world.serve("10.0.0.1:80", |request| match request.path() {
        "/1" => leads(301, "/2?x"),
        "/2" => leads(307, "3"),
        _ => echo(request),
    });
    let answer = world.get("http://a.test/1#part").expect("an answer");
    assert_eq!((answer.text().as_ref(), answer.url()), ("GET /3", "http://a.test/3#part"));
    assert_eq!(*asked.borrow(), ["GET /1 a.test", "GET /2?x a.test", "GET /3 a.test"]);
    assert_eq!(world.client.open_connections(), 1);
}

#[test]
fn a_circle_is_left_after_ten() {
    let mut world = World::new(Client::builder());
    let asked = world.serve("10.0.0.1:80", |_| leads(302, "/"));
    let error = world.get("http://a.test/").expect_err("for ever");
    assert!(matches!(error, ClientError::TooManyRedirects { limit: 10, .. }), "{error}");
    assert_eq!(asked.borrow().len(), 11);
    let none = world.ask(Request::get("http://a.test/").redirects(0));
    assert_eq!(world.result(&none).expect("an answer").status(), Status::FOUND);
}

#[test]
fn secrets_stay_with_the_origin_that_they_were_meant_for() {
    let mut world = World::new(Client::builder());
    world.serve("10.0.0.1:80", |request| match request.path() {
        "/there" => leads(302, "http://b.test/"),
        _ => leads(302, "/there"),
    });
    let other = world.play("10.0.0.2:80", [ok("")]);
    let request = Request::get("http://me:secret@a.test/")
        .header("Authorization", "Bearer secret")
        .header("Cookie", "secret=1")
        .header("X-Other", "kept");
    let pending = world.ask(request);
    world.result(&pending).expect("an answer");
    assert!(!other.heard().contains("secret"), "{}", other.heard());
    assert!(!other.heard().contains("Authorization"), "{}", other.heard());
    assert!(other.heard().contains("X-Other: kept"));
}

#[test]
fn secrets_of_the_client_as_a_whole_stay_behind_too() {
    let builder = Client::builder()
        .header("Authorization", "Bearer secret")
        .header("Cookie", "secret=1")
        .header("Upgrade", "h2c")
        .header("X-Client", "kept");
    let mut world = World::new(builder);
    let first = world.play(
        "10.0.0.1:80",
        [Act::say("HTTP/1.1 302 x\r\nLocation: http://b.test/\r\nContent-Length: 0\r\n\r\n")],
    );
    // Nor do they come back where the way leads back.
    let back = "HTTP/1.1 302 x\r\nLocation: http://b.test/2\r\nContent-Length: 0\r\n\r\n";
    let other = world.play("10.0.0.2:80", [Act::say(back), ok("")]);
    world.get("http://a.test/").expect("an answer");
    assert!(first.heard().contains("Bearer secret") && first.heard().contains("secret=1"));
    assert!(!first.heard().contains("Upgrade"), "{}", first.heard());
    assert!(!other.heard().contains("secret"), "{}", other.heard());
    assert_eq!(other.heard().matches("X-Client: kept").count(), 2);
}

#[test]
fn a_body_is_sent_again_where_that_can_be() {
    let body = |request: &crate::Request| match request.path() {
        "/307" => leads(307, "/end"),
        "/303" => leads(303, "/end"),
        _ => crate::Response::text(format!("{} {:?}", request.method(), request.body())),
    };
    let mut world = World::new(Client::builder());
    world.serve("10.0.0.1:80", body);
    for (request, expected) in [
        (Request::post("http://a.test/307").body("abc"), "POST [97, 98, 99]"),
        (Request::post("http://a.test/303").body("abc"), "GET []"),
        (Request::post("http://a.test/303").pulled(None, ["abc".into()]), "GET []"),
    ] {
        let pending = world.ask(request);
        assert_eq!(world.result(&pending).expect("an answer").text(), expected);
    }
    let pending = world.ask(Request::post("http://a.test/307").pulled(None, ["abc".into()]));
    let error = world.result(&pending).expect_err("it is gone");
    assert!(matches!(error, ClientError::BodyIsGone { .. }), "{error}");
}

#[test]
fn cookies_are_kept_from_every_answer_and_told_to_their_server() {
    let jar = CookieJar::new();
    let mut world = World::new(Client::builder().cookies(jar.clone()));
    world.serve("10.0.0.1:80", |request| match request.path() {
        "/login" => leads(303, "/").header("Set-Cookie", "id=7; Max-Age=60; Path=/"),
        _ => crate::Response::text(request.header("cookie").unwrap_or("none").to_owned()),
    });
    world.serve("10.0.0.2:80", |request| {
        crate::Response::text(request.header("cookie").unwrap_or("none").to_owned())
    });
    assert_eq!(world.get("http://a.test/login").expect("an answer").text(), "id=7");
    assert_eq!(world.get("http://b.test/").expect("an answer").text(), "none");
    assert_eq!(jar.len(), 1);
    world.simulation.run_for(seconds(61));
    assert_eq!(world.get("http://a.test/").expect("an answer").text(), "none");
}

#[test]
fn a_proxy_is_given_the_whole_url_and_serves_all_servers_on_one_connection() {
    let builder = Client::builder().proxy("http://me:pw@proxy.test:3128").expect("valid");
    let mut world = World::new(builder.no_proxy("b.test"));
    let proxy = world.play("10.0.0.3:3128", [ok("1"), ok("2")]);
    let direct = world.serve("10.0.0.2:80", echo);
    assert_eq!(world.get("http://a.test/x?y").expect("an answer").text(), "1");
    assert_eq!(world.get("http://elsewhere.test:81/").expect("an answer").text(), "2");
    assert_eq!(world.get("http://b.test/").expect("an answer").text(), "GET /");
    let heard = proxy.heard();
    assert!(heard.starts_with("GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\n"), "{heard}");
    assert!(heard.contains("GET http://elsewhere.test:81/ HTTP/1.1\r\nHost: elsewhere.test:81"));
    assert_eq!(heard.matches("Proxy-Authorization: Basic bWU6cHc=\r\n").count(), 2);
    assert_eq!(proxy.connections.get(), 1);
    assert_eq!(*direct.borrow(), ["GET / b.test"]);
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let builder = Client::builder().proxy("http://me:secret@proxy.test:1").expect("valid");
    let mut world = World::new(builder);
    let error = world.get("http://a.test/").expect_err("no proxy");
    let text = error.to_string();
    assert!(text.contains("its proxy: cannot connect to tcp://proxy.test:1"), "{text}");
    assert!(!text.contains("secret"));
}

#[cfg(feature = "_tls")]
#[test]
fn a_proxy_that_opens_no_way_says_why() {
    let builder = Client::builder().proxy("http://proxy.test:3128").expect("valid");
    let mut world = World::new(builder);
    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 1000000\r\n\r\n";
    let proxy = world.play("10.0.0.3:3128", [Act::say(refusal), Act::say("").then(Then::Close)]);
    let error = world.get("https://a.test/").expect_err("no way");
    assert_eq!(
        error.to_string(),
        "https://a.test/: the proxy http://proxy.test:3128 opens no way there: it says 407 Proxy \
         Authentication Required; give the proxy's user and password"
    );
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        proxy.heard(),
        format!(
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nUser-Agent: Ropewalk/{version}\r\n\r\n"
        )
    );
    let error = world.get("https://a.test/").expect_err("it closes");
    assert!(error.to_string().contains("lost before an answer came"), "{error}");
    world.simulation.run_for(seconds(5));
    assert_eq!(world.simulation.open_sockets(), 0);
}
