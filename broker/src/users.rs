//! Users: their passwords, tags, limits, and what each may do in which virtual host.
//!
//! RabbitMQ's internal user data base. It says who knows a password and who may enter; where a
//! client may come from is the server's affair.

use std::collections::BTreeMap;

use crate::broker::Broker;
use crate::connection::OpenConnection;
use crate::definition::DefinitionKey;
use crate::error::{Error, ErrorKind, Result, text};
use crate::ids::ConnectionId;
use crate::names::Name;
use crate::password::PasswordHash;
use crate::permission::{Grant, Permission, TopicPermission};

/// A user.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct User {
    /// `None`: nobody can log in as this user by password.
    pub password: Option<PasswordHash>,
    /// `administrator`, `monitoring` and so on mean something to management tools only; an
    /// `impersonator` may publish in the name of others (the property `user-id`).
    pub tags: Vec<String>,
    /// Limits.
    pub limits: UserLimits,
    /// By virtual host.
    permissions: BTreeMap<Name, Permission>,
    /// By virtual host and exchange.
    topics: BTreeMap<Name, BTreeMap<Name, TopicPermission>>,
}

/// What a user may have at once; `None` is no limit (`rabbitmqctl set_user_limits`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections, in all virtual hosts.
    pub max_connections: Option<usize>,
    /// Channels, of all its connections.
    pub max_channels: Option<usize>,
}

impl User {
    /// A user with this password and no permissions.
    pub fn new(password: Option<PasswordHash>) -> User {
        User { password, ..User::default() }
    }

    /// What it may do, by virtual host in order of their names.
    pub fn permissions(&self) -> impl Iterator<Item = (&[u8], &Permission)> {
        self.permissions.iter().map(|(vhost, permission)| (&**vhost, permission))
    }

    /// Its limits on topics: virtual host, exchange, permission, in order of the names.
    pub fn topic_permissions(&self) -> impl Iterator<Item = (&[u8], &[u8], &TopicPermission)> {
        self.topics.iter().flat_map(|(vhost, topics)| {
            topics.iter().map(move |(exchange, topic)| (&**vhost, &**exchange, topic))
        })
    }

    pub(crate) fn permission(&self, vhost: &[u8]) -> Option<&Permission> {
        self.permissions.get(vhost)
    }

    pub(crate) fn topic_permission(
        &self,
        vhost: &[u8],
        exchange: &[u8],
    ) -> Option<&TopicPermission> {
        self.topics.get(vhost)?.get(exchange)
    }

    fn grant(&self, vhost: &[u8]) -> Option<Grant> {
        let permission = self.permissions.get(vhost)?.clone();
        Some(Grant { permission, topics: self.topics.get(vhost).cloned().unwrap_or_default() })
    }
}

/// Hashed for users who are not there, so that the answer takes as long.
const NOBODY: &[u8; 36] = &[0; 36];

impl Broker {
    /// The users in order of their names. A new broker has none.
    pub fn users(&self) -> impl Iterator<Item = (&[u8], &User)> {
        self.users.iter().map(|(name, user)| (&**name, user))
    }

    /// Finds a user.
    pub fn user(&self, name: &[u8]) -> Option<&User> {
        self.users.get(name)
    }

    /// Adds a user, or gives the one of that name a new password, tags and limits; what it
    /// may do stays as it was.
    pub fn put_user(&mut self, name: &[u8], user: User) {
        let known = self.users.entry(name.into()).or_default();
        let User { password, tags, limits, .. } = user;
        *known = User { password, tags, limits, ..std::mem::take(known) };
        self.journal_user(name);
    }

    /// Forgets a user, if it is there. Its connections stay and may do nothing more.
    pub fn delete_user(&mut self, name: &[u8]) -> bool {
        let Some(user) = self.users.remove(name) else { return false };
        self.journal_user_deleted(name, &user);
        self.refresh_grants(name, None);
        true
    }

    /// Says what a user may do in a virtual host, also on the connections that it has; `None`
    /// takes the right to enter away. False if there is no such user.
    pub fn set_user_permission(
        &mut self,
        user: &[u8],
        vhost: &[u8],
        permission: Option<Permission>,
    ) -> bool {
        let Some(known) = self.users.get_mut(user) else { return false };
        match permission {
            Some(permission) => known.permissions.insert(vhost.into(), permission),
            None => known.permissions.remove(vhost),
        };
        self.journal_permission(user, vhost);
        self.refresh_grants(user, Some(vhost));
        true
    }

    /// Limits the routing keys that a user may use with a topic exchange, also on the connections
    /// that it has; `None` lifts the limit. False if there is no such user.
    pub fn set_topic_permission(
        &mut self,
        user: &[u8],
        vhost: &[u8],
        exchange: &[u8],
        permission: Option<TopicPermission>,
    ) -> bool {
        let Some(known) = self.users.get_mut(user) else { return false };
        let topics = known.topics.entry(vhost.into()).or_default();
        match permission {
            Some(permission) => topics.insert(exchange.into(), permission),
            None => topics.remove(exchange),
        };
        self.journal_topic_permission(user, vhost, exchange);
        self.refresh_grants(user, Some(vhost));
        true
    }

    /// A virtual host goes, and what users were allowed there.
    pub(crate) fn forget_permissions_in(&mut self, vhost: &[u8]) {
        for (name, user) in &mut self.users {
            let topics = user.topics.remove(vhost).unwrap_or_default();
            let permission = user.permissions.remove(vhost);
            let Some(journal) = &mut self.journal else { continue };
            for exchange in topics.keys() {
                let key = DefinitionKey::TopicPermission { user: name, vhost, exchange };
                journal.undefined(&key);
            }
            if permission.is_some() {
                journal.undefined(&DefinitionKey::Permission { user: name, vhost });
            }
        }
    }

    /// Whether this is the user's password. An empty one never is, as in RabbitMQ.
    pub fn verify_password(&self, user: &[u8], password: &[u8]) -> bool {
        let known = self.users.get(user).and_then(|user| user.password.as_ref());
        match known {
            Some(hash) => hash.verify(password) && !password.is_empty(),
            None => {
                let hash = PasswordHash::from_bytes(crate::HashAlgorithm::Sha256, NOBODY);
                std::hint::black_box(hash.is_some_and(|hash| hash.verify(password)));
                false
            }
        }
    }

    /// Opens a connection for one of the broker's users, who may do what it was granted:
    /// `NOT_ALLOWED` if there is no such virtual host, a limit is reached, or the user was granted
    /// nothing there.
    pub fn open_connection_as_user(&mut self, open: &OpenConnection<'_>) -> Result<ConnectionId> {
        let vhost = self.vhost(open.vhost)?;
        self.check_connection_limits(vhost, open.user)?;
        let user = self.users.get(open.user);
        if let Some(limit) = user.and_then(|user| user.limits.max_connections)
            && self.connections_of(open.user).count() >= limit
        {
            let user = text(open.user);
            return Err(not_allowed(format!(
                "connection refused for user '{user}': user connection limit ({limit}) is reached"
            )));
        }
        let Some(grant) = user.and_then(|user| user.grant(open.vhost)) else {
            return Err(refused(open.vhost, open.user));
        };
        let id = self.open_connection(open)?;
        let state = &mut self.connections[id];
        state.is_users = true;
        state.permissions = grant.into_permissions();
        Ok(id)
    }

    /// `NOT_ALLOWED` if one of the broker's users was granted nothing in a virtual host.
    pub fn check_entry(&self, user: &[u8], vhost: &[u8]) -> Result<()> {
        let known = self.users.get(user).is_some_and(|user| user.permissions.contains_key(vhost));
        if known { Ok(()) } else { Err(refused(vhost, user)) }
    }

    /// Whether the connection's user may say that a message is somebody else's.
    pub(crate) fn may_impersonate(&self, connection: ConnectionId) -> bool {
        let state = &self.connections[connection];
        let user = self.users.get(&state.user).filter(|_| state.is_users);
        user.is_some_and(|user| user.tags.iter().any(|tag| tag == "impersonator"))
    }

    /// `NOT_ALLOWED` if the connection's user may have no more channels. O(n) in the connections,
    /// for users with such a limit only.
    pub(crate) fn check_channel_limit(&self, connection: ConnectionId) -> Result<()> {
        let Some(state) = self.connections.get(connection).filter(|state| state.is_users) else {
            return Ok(());
        };
        let user = self.users.get(&state.user);
        let Some(limit) = user.and_then(|user| user.limits.max_channels) else { return Ok(()) };
        let open: usize = self
            .connections_of(&state.user)
            .map(|connection| self.connections[connection].channels.len())
            .sum();
        if open < limit {
            return Ok(());
        }
        let user = text(&state.user);
        Err(not_allowed(format!(
            "number of channels opened for user '{user}' has reached the maximum allowed user \
             limit of ({limit})"
        )))
    }

    /// The connections that one of the broker's users has.
    fn connections_of(&self, user: &[u8]) -> impl Iterator<Item = ConnectionId> {
        let connections = self.connections.iter();
        connections
            .filter(move |(_, state)| state.is_users && *state.user == *user)
            .map(|(id, _)| id)
    }

    /// What a user may do has changed, in one virtual host or in all.
    fn refresh_grants(&mut self, user: &[u8], vhost: Option<&[u8]>) {
        for id in self.connections_of(user).collect::<Vec<_>>() {
            let entered = &self.vhosts[self.connections[id].vhost].name;
            if vhost.is_some_and(|vhost| *vhost != **entered) {
                continue;
            }
            let grant = self.users.get(user).and_then(|user| user.grant(entered));
            self.connections[id].permissions = match grant {
                Some(grant) => grant.into_permissions(),
                None => Some(Box::new(|_: crate::Access, _: &[u8]| false)),
            };
        }
    }
}

pub(crate) fn not_allowed(explanation: String) -> Error {
    Error::new(ErrorKind::NotAllowed, explanation)
}

/// A user who may not enter.
fn refused(vhost: &[u8], user: &[u8]) -> Error {
    let (vhost, user) = (text(vhost), text(user));
    not_allowed(format!("access to vhost '{vhost}' refused for user '{user}'"))
}
