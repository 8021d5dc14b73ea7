//! The commands: what they are called, how many arguments they take, and how a request finds its
//! own.

use crate::codec::Request;

use super::table::SPECS;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Auth,
    Client,
    ClientGetname,
    ClientHelp,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientReply,
    ClientSetinfo,
    ClientSetname,
    Command,
    CommandCount,
    CommandDocs,
    CommandHelp,
    CommandInfo,
    CommandList,
    Config,
    ConfigGet,
    ConfigHelp,
    ConfigResetstat,
    Echo,
    Flushall,
    Flushdb,
    Hello,
    Info,
    Ping,
    Psubscribe,
    Publish,
    Pubsub,
    PubsubChannels,
    PubsubHelp,
    PubsubNumpat,
    PubsubNumsub,
    PubsubShardchannels,
    PubsubShardnumsub,
    Punsubscribe,
    Quit,
    Reset,
    Select,
    Spublish,
    Ssubscribe,
    Subscribe,
    Sunsubscribe,
    Time,
    Unsubscribe,
}

impl Action {
    /// Whether a RESP2 connection may call it while it is subscribed to something.
    pub(crate) fn is_allowed_while_subscribed(self) -> bool {
        self.pushes() && !matches!(self, Self::Publish | Self::Spublish)
            || matches!(self, Self::Ping | Self::Quit | Self::Reset)
    }

    /// Whether what it writes is more than a reply, and goes out though replies are off.
    pub(crate) fn pushes(self) -> bool {
        matches!(
            self,
            Self::Subscribe
                | Self::Unsubscribe
                | Self::Psubscribe
                | Self::Punsubscribe
                | Self::Ssubscribe
                | Self::Sunsubscribe
                | Self::Publish
                | Self::Spublish
        )
    }

    /// Whether it may be called before authentication.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Auth | Self::Hello | Self::Quit | Self::Reset)
    }
}

/// A command and what `COMMAND` tells of it.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) command: Action,
    /// In small letters; a subcommand stands behind its command and a `|`.
    pub(crate) name: &'static str,
    /// How many arguments, the name included; if negative, at least so many.
    pub(crate) arity: i8,
    /// Words as Redis has them, with spaces between.
    pub(crate) flags: &'static str,
    pub(crate) categories: &'static str,
    pub(crate) tips: &'static str,
    /// First key, last key, step.
    pub(crate) keys: (i8, i8, i8),
    pub(crate) since: &'static str,
    pub(crate) group: &'static str,
    pub(crate) summary: &'static str,
    /// Arguments for `COMMAND DOCS`, with spaces between: a name, its type behind a `:`, and `?` for
    /// one that may be left out, `*` for one that may come again.
    pub(crate) arguments: &'static str,
}

impl Spec {
    pub(crate) fn takes(&self, arguments: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity >= 0 { arguments == least } else { arguments >= least }
    }

    pub(crate) fn is_subcommand(&self) -> bool {
        self.name.contains('|')
    }

    /// Its subcommands, if it has any.
    pub(crate) fn subcommands(&self) -> impl Iterator<Item = &'static Self> {
        let own = self.name;
        SPECS.iter().filter(move |spec| {
            spec.name.strip_prefix(own).is_some_and(|rest| rest.starts_with('|'))
        })
    }
}

/// Why a request is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Command,
    /// The command, which is known, and not what follows it.
    Subcommand(&'static str),
}

/// The command that a request calls; there is at least its name.
pub(crate) fn lookup(request: &Request<'_>) -> Result<&'static Spec, Unknown> {
    // The two that come by the million.
    let name = &request[0];
    if name.len() == 7 && name.eq_ignore_ascii_case(b"publish") {
        return Ok(&SPECS[Action::Publish as usize]);
    }
    if name.len() == 4 && name.eq_ignore_ascii_case(b"ping") {
        return Ok(&SPECS[Action::Ping as usize]);
    }
    let found = find(name).ok_or(Unknown::Command)?;
    match request.get(1) {
        Some(sub)
            if matches!(
                found.command,
                Action::Client | Action::Command | Action::Config | Action::Pubsub
            ) =>
        {
            found
                .subcommands()
                .find(|spec| spec.name.as_bytes()[found.name.len() + 1..].eq_ignore_ascii_case(sub))
                .ok_or(Unknown::Subcommand(found.name))
        }
        _ => Ok(found),
    }
}

/// The command of this name, also `client|id`.
pub(crate) fn find(name: &[u8]) -> Option<&'static Spec> {
    // In small letters, which is how the table is sorted. The longest name has 20.
    let mut lower = [0; 24];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let place = SPECS.binary_search_by(|spec| spec.name.as_bytes().cmp(lower)).ok()?;
    Some(&SPECS[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_stands_in_the_order_of_the_enum() {
        for (place, spec) in SPECS.iter().enumerate() {
            assert_eq!(spec.command as usize, place, "{}", spec.name);
        }
        assert!(SPECS.is_sorted_by(|a, b| a.name < b.name));
        assert!(SPECS.iter().all(|spec| spec.name.len() <= 24));
    }

    #[test]
    fn every_command_is_found_whatever_its_letters() {
        for spec in SPECS {
            let found = find(spec.name.to_ascii_uppercase().as_bytes()).expect("it is in there");
            assert_eq!(found.command, spec.command);
        }
        assert!(find(b"get").is_none());
        assert!(find(&[b'x'; 100]).is_none());
        assert!(find(b"").is_none());
    }
}
