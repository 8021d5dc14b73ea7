//! Names and passwords in the Basic scheme (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ropewalk_reactor::Result;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::{Exchange, Middleware, Request, Response, Status};

/// Asks for a name and a password, and lets nobody else pass: a middleware.
///
/// ```
/// use ropewalk_http::{BasicAuth, HandlerExt, Request};
///
/// let handler = (|_: &Request| "the plans").with(BasicAuth::users("plans", [("alice", "swordfish")]));
/// # let _ = handler;
/// ```
///
/// The name is [`Exchange::user`] for whoever comes behind, and stands in the access log. Passwords
/// travel readable for everyone on the way: use it over TLS.
pub struct BasicAuth {
    challenge: String,
    check: Check,
}

/// Whether a name and a password are right.
type Check = Box<dyn FnMut(&str, &str) -> bool>;

impl BasicAuth {
    /// Lets pass whom `check` (name, password) approves of. `realm` is what the client shows to its
    /// user. The check is called on the loop, so it must not block; compare in constant time.
    pub fn new(realm: &str, check: impl FnMut(&str, &str) -> bool + 'static) -> Self {
        let mut quoted = String::new();
        for character in realm.chars().filter(|character| !character.is_control()) {
            if matches!(character, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        let challenge = format!("Basic realm=\"{quoted}\", charset=\"UTF-8\"");
        Self { challenge, check: Box::new(check) }
    }

    /// Lets pass whoever is in the list of names and passwords. What it compares takes the same time
    /// for every guess of a length: passwords are hashed first, and all names are compared.
    pub fn users<N: AsRef<str>, P: AsRef<str>>(
        realm: &str,
        users: impl IntoIterator<Item = (N, P)>,
    ) -> Self {
        let digest = |text: &str| Sha256::digest(text.as_bytes());
        let users = users
            .into_iter()
            .map(|(name, password)| (digest(name.as_ref()), digest(password.as_ref())));
        let users: Vec<_> = users.collect();
        Self::new(realm, move |name, password| {
            let (name, password) = (digest(name), digest(password));
            let found = users.iter().fold(Choice::from(0), |found, (a_name, a_password)| {
                found | (a_name[..].ct_eq(&name[..]) & a_password[..].ct_eq(&password[..]))
            });
            bool::from(found)
        })
    }
}

impl Middleware for BasicAuth {
    fn request_started(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Option<Response>> {
        let mut fields = request.headers().get_all("authorization");
        if let (Some(field), None) = (fields.next(), fields.next())
            && let Some((name, password)) = credentials(field)
            && (self.check)(&name, &password)
        {
            exchange.set_user(name);
            return Ok(None);
        }
        let response = Response::status(Status::UNAUTHORIZED);
        Ok(Some(response.header("WWW-Authenticate", &self.challenge)))
    }
}

/// The name and the password of an Authorization field; `None` if it is of another scheme, or wrong.
/// A password may hold a colon, a name may not, and neither a control character.
fn credentials(field: &[u8]) -> Option<(String, String)> {
    let text = str::from_utf8(field).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_start_matches(' ')).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (name, password) = decoded.split_once(':')?;
    if decoded.chars().any(char::is_control) {
        return None;
    }
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use ropewalk_reactor::testing::Harness;

    use super::*;
    use crate::{HandlerExt, HttpServer, Reply, with_exchange};

    fn ask(authorization: &[&str]) -> String {
        let handler = with_exchange(|_, exchange| {
            let user = exchange.user().unwrap_or_default().to_owned();
            Ok::<Reply, _>(user.into())
        });
        let users = [("alice", "swordfish"), ("bob", "a:b"), ("zo\u{eb}", "\u{e9}")];
        let auth = BasicAuth::users("the \"realm\"", users);
        let mut harness = Harness::new(HttpServer::new(handler.with(auth)));
        let fields: String =
            authorization.iter().map(|field| format!("Authorization: {field}\r\n")).collect();
        harness.feed(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        String::from_utf8_lossy(&harness.written()).into_owned()
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn the_right_password_lets_pass_and_names_the_user() {
        for (name, password) in [("alice", "swordfish"), ("bob", "a:b"), ("zo\u{eb}", "\u{e9}")] {
            let answer = ask(&[&basic(&format!("{name}:{password}"))]);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{name}")), "{answer}");
        }
        assert!(ask(&["bAsIc  YWxpY2U6c3dvcmRmaXNo"]).starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn everything_else_is_asked_for_a_password() {
        let right = basic("alice:swordfish");
        for fields in [
            &[][..] as &[&str],
            &[&*basic("alice:other")],
            &[&basic("bob:swordfish")],
            &[&basic("alice")],
            &[&basic(":swordfish")],
            &[&basic("alice:swordfish\0")],
            &["Basic"],
            &["Basic !!!!"],
            &["Basic /w=="],
            &["Bearer YWxpY2U6c3dvcmRmaXNo"],
            &[&right, &right],
        ] {
            let answer = ask(fields);
            assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{fields:?}: {answer}");
            let challenge =
                "\r\nWWW-Authenticate: Basic realm=\"the \\\"realm\\\"\", charset=\"UTF-8\"\r\n";
            assert!(answer.contains(challenge), "{answer}");
        }
    }
}
