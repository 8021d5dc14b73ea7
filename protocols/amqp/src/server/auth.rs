//! Who may log in, and from where: SASL's PLAIN and AMQPLAIN.
//!
//! Passwords and permissions are the broker's affair, or that of an [`Authenticator`].

use std::fmt;
use std::net::IpAddr;

use ropewalk_broker::{Access, Broker, Permissions};
use ropewalk_reactor::Address;

use crate::codec::Table;

/// The mechanisms that `connection.start` offers.
pub(crate) const MECHANISMS: &[u8] = b"PLAIN AMQPLAIN";

/// A client that asks to be let in.
#[derive(Clone)]
pub struct Login<'a> {
    /// The name it gave.
    pub user: &'a [u8],
    /// The password it gave.
    pub password: &'a [u8],
    /// Where it is.
    pub peer: Address,
}

impl fmt::Debug for Login<'_> {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &String::from_utf8_lossy(self.user))
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Decides who may log in, in the place of the broker's own users. It must not block: it is asked
/// on the loop. Nor may it call [`Server::with_broker`](super::Server::with_broker), since the
/// server is in the middle of a call.
pub trait Authenticator {
    /// Whether the user is who it says, and may come from where it comes. The error is for the
    /// log; the client is only told that it was refused.
    ///
    /// # Errors
    /// Why the login is refused.
    fn authenticate(&self, login: &Login<'_>) -> Result<(), String>;

    /// Whether a user may enter a virtual host that exists. Everybody may, unless told otherwise.
    fn may_enter(&self, user: &[u8], vhost: &[u8]) -> bool {
        let _ = (user, vhost);
        true
    }

    /// What a user may do in a virtual host; `None` is everything. Asked when the connection opens,
    /// and again when it has a new secret (`connection.update-secret`).
    fn permissions(&self, user: &[u8], vhost: &[u8]) -> Option<Box<dyn Permissions>> {
        let _ = (user, vhost);
        None
    }
}

/// What an authenticator granted, as the broker takes it.
pub(crate) struct Granted(pub(crate) Box<dyn Permissions>);

impl Permissions for Granted {
    fn allows(&self, access: Access, name: &[u8]) -> bool {
        self.0.allows(access, name)
    }

    fn allows_topic(&self, access: Access, exchange: &[u8], routing_key: &[u8]) -> bool {
        self.0.allows_topic(access, exchange, routing_key)
    }
}

/// Asks the broker's own users, of whom those named in `loopback_users` may only come from this
/// machine.
pub(crate) fn authenticate_user(
    broker: &Broker,
    loopback_users: &[Vec<u8>],
    login: &Login<'_>,
) -> Result<(), String> {
    let name = String::from_utf8_lossy(login.user);
    if !broker.verify_password(login.user, login.password) {
        return Err(format!("user '{name}' is unknown, or its password is wrong"));
    }
    // A Unix socket, which has no address, is this machine too.
    let is_local = login.peer.ip().is_none_or(is_loopback);
    if !is_local && loopback_users.iter().any(|user| user == login.user) {
        return Err(format!("user '{name}' can only connect via localhost"));
    }
    Ok(())
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// What the mechanisms carry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials<'a> {
    pub(crate) user: &'a [u8],
    pub(crate) password: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// Reads the response of one of [`MECHANISMS`].
    pub(crate) fn read(mechanism: &[u8], response: &'a [u8]) -> Result<Credentials<'a>, String> {
        let found = match mechanism {
            b"PLAIN" => Credentials::plain(response),
            b"AMQPLAIN" => Credentials::amqplain(response),
            _ => {
                let name = mechanism.escape_ascii();
                return Err(format!("unknown authentication mechanism '{name}'"));
            }
        };
        found.ok_or_else(|| format!("a malformed {} response", mechanism.escape_ascii()))
    }

    /// `\0user\0password` (RFC 4616). The identity to act as must be left empty, as in RabbitMQ.
    fn plain(response: &'a [u8]) -> Option<Credentials<'a>> {
        let rest = response.strip_prefix(b"\0")?;
        let end = rest.iter().position(|&octet| octet == 0)?;
        let (user, password) = (&rest[..end], &rest[end + 1..]);
        (!password.contains(&0)).then_some(Credentials { user, password })
    }

    /// The fields of a table with `LOGIN` and `PASSWORD`, without the table's length.
    fn amqplain(response: &'a [u8]) -> Option<Credentials<'a>> {
        let table = Table::new(response).ok()?;
        let user = table.get("LOGIN")?.as_bytes()?;
        let password = table.get("PASSWORD")?.as_bytes()?;
        Some(Credentials { user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::TableBuf;
    use ropewalk_broker::{NoHeaders, PasswordHash, User};

    fn login(user: &str, password: &str, address: &str) -> Result<(), String> {
        let mut broker =
            Broker::new(Default::default(), |octets: &mut [u8]| octets.fill(1), NoHeaders);
        for name in ["guest", "bob"] {
            let hash = PasswordHash::new(name.as_bytes(), [1, 2, 3, 4]);
            broker.put_user(name.as_bytes(), User::new(Some(hash)));
        }
        let peer = Address::Tcp(address.parse().expect("an address"));
        let (user, password) = (user.as_bytes(), password.as_bytes());
        authenticate_user(&broker, &[b"guest".to_vec()], &Login { user, password, peer })
    }

    #[test]
    fn guest_comes_from_this_machine_only() {
        for here in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(login("guest", "guest", here), Ok(()), "{here}");
        }
        for there in ["10.0.0.1:1", "[::2]:1", "[::ffff:10.0.0.1]:1"] {
            let refused = Err("user 'guest' can only connect via localhost".to_owned());
            assert_eq!(login("guest", "guest", there), refused, "{there}");
            assert_eq!(login("bob", "bob", there), Ok(()), "{there}");
        }
    }

    #[test]
    fn a_wrong_password_or_user_is_refused_without_saying_which() {
        for password in ["", "g", "gues", "guess", "guest\0", "guestguest"] {
            let refused = login("guest", password, "127.0.0.1:1").expect_err(password);
            assert_eq!(refused, "user 'guest' is unknown, or its password is wrong");
        }
        assert!(login("nobody", "guest", "127.0.0.1:1").is_err());
    }

    #[test]
    fn both_mechanisms_carry_user_and_password() {
        let table = TableBuf::new().with("LOGIN", "bob").with("PASSWORD", "s");
        for (mechanism, response) in
            [(&b"PLAIN"[..], &b"\0bob\0s"[..]), (b"AMQPLAIN", table.as_table().as_bytes())]
        {
            let Ok(found) = Credentials::read(mechanism, response) else { panic!("a good login") };
            assert_eq!((found.user, found.password), (&b"bob"[..], &b"s"[..]));
        }
        for response in [&b""[..], b"bob\0s", b"\0bob", b"x\0bob\0s", b"\0bob\0s\0"] {
            assert!(Credentials::read(b"PLAIN", response).is_err());
            assert!(Credentials::read(b"AMQPLAIN", response).is_err());
        }
        assert_eq!(
            Credentials::read(b"DIGEST-MD5", b"").err().as_deref(),
            Some("unknown authentication mechanism 'DIGEST-MD5'")
        );
    }
}
