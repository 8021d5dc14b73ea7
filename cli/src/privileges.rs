//! Not being root any more: whoever starts as root to have its ports and keys goes on as a user who can
//! do little else.
//!
//! The one rule: it is all or nothing. Groups go first, then the group, then the user, each for every
//! thread (the C library sees to that), and then it is seen to that there is no way back.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::fcntl::OFlag;
use nix::unistd::{self, AccessFlags, Gid, Group, Uid, User};
use ropewalk::amqp::store;
use serde::Deserialize;

/// A user, and a group if it is not the user's own: `www` or `www:web`, by name or number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Who {
    user: String,
    group: Option<String>,
}

impl FromStr for Who {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let (user, group) = match given.split_once(':') {
            None => (given, None),
            Some((user, group)) => (user, Some(group.to_owned())),
        };
        if user.is_empty() || group.as_ref().is_some_and(String::is_empty) {
            return Err("write NAME or NAME:GROUP");
        }
        Ok(Self { user: user.to_owned(), group })
    }
}

impl TryFrom<String> for Who {
    type Error = &'static str;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl Who {
    /// With another group, which goes before the one that it has.
    pub(crate) fn with_group(mut self, group: Option<String>) -> Self {
        self.group = group.or(self.group);
        self
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => f.write_str(&self.user),
            Some(group) => write!(f, "{}:{group}", self.user),
        }
    }
}

/// A user as the system knows it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    who: Who,
    /// For the groups that the user is in; a number that is nobody's has none.
    name: Option<CString>,
    user: Uid,
    group: Gid,
    home: Option<PathBuf>,
}

impl Identity {
    /// Looks the user up, and says what is wrong if there is none.
    pub(crate) fn find(who: &Who) -> Result<Self, String> {
        let number = |given: &str| given.parse::<u32>().ok();
        let unknown = |error: nix::Error| format!("{who}: the system cannot say: {error}");
        let user = match (User::from_name(&who.user).map_err(unknown)?, number(&who.user)) {
            (None, Some(number)) => User::from_uid(Uid::from_raw(number)).map_err(unknown)?,
            (user, _) => user,
        };
        let group = match &who.group {
            None => user.as_ref().map(|user| user.gid),
            Some(group) => match (Group::from_name(group).map_err(unknown)?, number(group)) {
                (Some(group), _) => Some(group.gid),
                (None, Some(number)) => Some(Gid::from_raw(number)),
                (None, None) => return Err(format!("there is no group {group:?}")),
            },
        };
        let uid = match (&user, number(&who.user)) {
            (Some(user), _) => user.uid,
            (None, Some(number)) => Uid::from_raw(number),
            (None, None) => return Err(format!("there is no user {:?}", who.user)),
        };
        let Some(group) = group else {
            return Err(format!("user {uid} has no group of its own: write {uid}:GROUP"));
        };
        if uid.is_root() || group.as_raw() == 0 {
            return Err(format!("{who} is root, or in its group: choose a user who can do less"));
        }
        let name = user.as_ref().and_then(|user| CString::new(user.name.as_str()).ok());
        Ok(Self { who: who.clone(), name, user: uid, group, home: user.map(|user| user.dir) })
    }

    /// The user's home directory.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.as_deref().filter(|home| home.is_absolute())
    }

    /// Whether this process can become that user, or is it already.
    pub(crate) fn check(&self) -> Result<(), String> {
        let own = Uid::effective();
        if own.is_root() || self.is_taken_on() {
            return Ok(());
        }
        Err(format!(
            "only root can go on as {}, and this is user {own}: start it as root, or leave `user` out",
            self.who
        ))
    }

    fn is_taken_on(&self) -> bool {
        let all = |found: [u32; 3], wanted: u32| found.into_iter().all(|one| one == wanted);
        let users = unistd::getresuid()
            .map(|ids| [ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw()]);
        let groups = unistd::getresgid()
            .map(|ids| [ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw()]);
        users.is_ok_and(|users| all(users, self.user.as_raw()))
            && groups.is_ok_and(|groups| all(groups, self.group.as_raw()))
    }

    /// Becomes that user, for good.
    pub(crate) fn take_on(&self) -> Result<(), String> {
        self.check()?;
        if self.is_taken_on() {
            return Ok(()); // started as that user: it has the groups that it was given
        }
        let problem = |what: &str, error: nix::Error| {
            format!("cannot go on as {}: {what}: {error}", self.who)
        };
        let groups = match &self.name {
            Some(name) => unistd::initgroups(name, self.group),
            None => unistd::setgroups(&[self.group]),
        };
        groups.map_err(|error| problem("its groups", error))?;
        unistd::setgid(self.group).map_err(|error| problem("its group", error))?;
        unistd::setuid(self.user).map_err(|error| problem("the user", error))?;
        if !self.is_taken_on() || unistd::setuid(Uid::from_raw(0)).is_ok() {
            return Err(format!("cannot go on as {}: root can be had back", self.who));
        }
        if unistd::getgroups().is_ok_and(|groups| groups.contains(&Gid::from_raw(0))) {
            return Err(format!("cannot go on as {}: it is in root's group", self.who));
        }
        Ok(())
    }

    /// Makes a file the user's that root has just opened, and so may have made.
    ///
    /// The directory may be the user's, who is not trusted: what is there is root's own regular file,
    /// by no other name, or is left as it is.
    pub(crate) fn hand_over(&self, path: &Path) -> io::Result<()> {
        if !Uid::effective().is_root() {
            return Ok(());
        }
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK; // a pipe would be waited for
        let opened = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
        let Ok(file) = opened else { return Ok(()) };
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != 0 || found.nlink() != 1 {
            return Ok(());
        }
        fchown(&file, Some(self.user.as_raw()), Some(self.group.as_raw()))
    }

    /// Why the user has no such directory, and what to do about it.
    pub(crate) fn cannot_make(&self, directory: &Path, error: &store::Error) -> String {
        match error {
            store::Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                let (user, group, shown) = (self.user, self.group, directory.display());
                format!(
                    "{} cannot make it: as root, install -d -m 700 -o {user} -g {group} {shown}",
                    self.who
                )
            }
            error => error.to_string(),
        }
    }

    /// Sees to it that a directory that is there and what is in it are the user's.
    pub(crate) fn check_ownership(&self, directory: &Path) -> Result<(), String> {
        let shown = directory.display();
        let foreign = |path: &Path, owner: u32| {
            let (path, user) = (path.display(), self.user);
            format!(
                "{path} belongs to user {owner}, and this runs as {user}: as root, chown -R {user}:{} \
                 {shown}",
                self.group
            )
        };
        let found = fs::metadata(directory).map_err(|error| error.to_string())?;
        let own = self.user.as_raw();
        if found.uid() != own {
            return Err(foreign(directory, found.uid()));
        }
        for entry in fs::read_dir(directory).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            match entry.metadata() {
                Ok(found) if found.uid() != own => {
                    return Err(foreign(&entry.path(), found.uid()));
                }
                _ => {} // what has gone meanwhile is nobody's
            }
        }
        Ok(())
    }
}

/// Whether this process may rename a file, and make a new one in its place.
pub(crate) fn can_write_beside(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(unistd::access(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.who, self.user, self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_or_a_number_with_a_group_or_without() {
        assert_eq!("www".parse::<Who>().map(|who| who.to_string()), Ok("www".to_owned()));
        assert_eq!("33:web".parse::<Who>().map(|who| who.to_string()), Ok("33:web".to_owned()));
        for wrong in ["", ":", "www:", ":web"] {
            assert!(wrong.parse::<Who>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_is_nobody_and_who_is_root_is_told() {
        let find = |who: &str| Identity::find(&who.parse().expect("a form")).map(drop);
        let told = |who: &str| find(who).expect_err(who);
        assert!(told("no-such-user-here").contains("there is no user \"no-such-user-here\""));
        assert!(told("1:no-such-group-here").contains("there is no group"));
        assert!(told("4000000000").contains("write 4000000000:GROUP"));
        assert!(told("root").contains("is root"));
        assert!(told("0:1").contains("is root"));
        assert!(told("1:0").contains("is root"));
        assert_eq!(find("4000000000:4000000000"), Ok(()));
    }

    #[test]
    fn what_belongs_to_somebody_else_is_told_with_the_command_for_it() {
        let identity = Identity::find(&"4000000000:4000000001".parse().expect("a form"));
        let identity = identity.expect("numbers are enough");
        let directory = std::env::temp_dir().join(format!("ropewalk-owner-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory of ours");
        let told = identity.check_ownership(&directory).expect_err("it is ours");
        let command = format!("chown -R 4000000000:4000000001 {}", directory.display());
        assert!(told.contains(&command), "{told}");
        let _ = fs::remove_dir_all(&directory);
        let told = identity.check_ownership(&directory).expect_err("it has gone");
        assert!(told.contains("No such file"), "{told}");
        assert!(!directory.exists(), "nobody has asked for one");
    }
}
