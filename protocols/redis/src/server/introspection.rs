//! `COMMAND`: what the commands are, for clients that want to know beforehand; and the `HELP` of
//! those that have subcommands.

use super::clients::{MAX_ASKED, MUCH_ASKED};
use super::command::{Action, Spec, find};
use super::connection::is_one_of;
use super::dispatch::Call;
use super::table::SPECS;
use crate::codec::{Encoder, Request, matches};

fn commands() -> impl Iterator<Item = &'static Spec> {
    SPECS.iter().filter(|spec| !spec.is_subcommand())
}

impl Call<'_, '_> {
    pub(crate) fn command_count(&mut self) {
        self.reply().integer(commands().count() as i64);
    }

    /// All about all of them.
    pub(crate) fn command(&mut self) {
        let mut reply = self.reply();
        reply.array(commands().count());
        commands().for_each(|spec| tell(&mut reply, spec));
    }

    pub(crate) fn command_info(&mut self, request: &Request<'_>) {
        if request.len() == 2 {
            return self.command();
        }
        if request.len() - 2 > MAX_ASKED {
            return self.refuse(MUCH_ASKED);
        }
        let mut reply = self.reply();
        reply.array(request.len() - 2);
        for name in request.from(2) {
            match find(name) {
                Some(spec) => tell(&mut reply, spec),
                None => reply.null(),
            }
        }
    }

    pub(crate) fn command_docs(&mut self, request: &Request<'_>) {
        if request.len() - 2 > MAX_ASKED {
            return self.refuse(MUCH_ASKED);
        }
        let found: Vec<_> = match request.len() {
            2 => commands().collect(),
            _ => request.from(2).filter_map(find).collect(),
        };
        let mut reply = self.reply();
        reply.map(found.len());
        found.into_iter().for_each(|spec| explain(&mut reply, spec));
    }

    pub(crate) fn command_list(&mut self, request: &Request<'_>) {
        let (by, wanted) = match request.len() {
            2 => (&b""[..], &b""[..]),
            5 if is_one_of(&request[2], &["filterby"]) => (&request[3], &request[4]),
            _ => return self.refuse("ERR syntax error"),
        };
        let by = by.to_ascii_lowercase();
        let wanted = wanted.to_ascii_lowercase();
        let category = [b"@", &wanted[..]].concat();
        let is_it = |spec: &&Spec| match &by[..] {
            b"pattern" => matches(&wanted, spec.name.as_bytes()),
            b"aclcat" => spec.categories.split(' ').any(|it| it.as_bytes() == category),
            b"" => !spec.is_subcommand(),
            _ => false, // of modules, which there are not
        };
        if !matches!(&by[..], b"" | b"pattern" | b"aclcat" | b"module") {
            return self.refuse("ERR syntax error");
        }
        let found: Vec<_> = SPECS.iter().filter(is_it).collect();
        let mut reply = self.reply();
        reply.array(found.len());
        found.into_iter().for_each(|spec| reply.bulk(spec.name));
    }

    /// What the subcommands of a command are.
    pub(crate) fn help(&mut self, help: Action) {
        let spec = &SPECS[help as usize];
        let own = spec.name.strip_suffix("|help").unwrap_or(spec.name);
        let mut lines = vec![format!(
            "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            own.to_ascii_uppercase()
        )];
        for sub in find(own.as_bytes()).into_iter().flat_map(Spec::subcommands) {
            let mut line = sub.name[own.len() + 1..].to_ascii_uppercase();
            for argument in arguments(sub) {
                let name = argument.name;
                line.push_str(&match (argument.is_optional, argument.is_multiple) {
                    (false, false) => format!(" <{name}>"),
                    (false, true) => format!(" <{name}> [<{name}> ...]"),
                    (true, false) => format!(" [<{name}>]"),
                    (true, true) => format!(" [<{name}> ...]"),
                });
            }
            lines.push(line);
            lines.push(format!("    {}.", sub.summary));
        }
        let mut reply = self.reply();
        reply.array(lines.len());
        lines.iter().for_each(|line| reply.simple(line));
    }
}

fn words(text: &'static str) -> Vec<&'static str> {
    text.split(' ').filter(|word| !word.is_empty()).collect()
}

/// What `COMMAND INFO` tells of a command.
fn tell(reply: &mut Encoder<'_>, spec: &'static Spec) {
    let (first, last, step) = spec.keys;
    reply.array(10);
    reply.bulk(spec.name);
    reply.integer(spec.arity.into());
    let flags = words(spec.flags);
    reply.set(flags.len());
    flags.into_iter().for_each(|flag| reply.simple(flag));
    for place in [first, last, step] {
        reply.integer(place.into());
    }
    let categories = words(spec.categories);
    reply.set(categories.len());
    categories.into_iter().for_each(|category| reply.simple(category));
    let tips = words(spec.tips);
    reply.set(tips.len());
    tips.into_iter().for_each(|tip| reply.bulk(tip));
    reply.set(usize::from(first > 0));
    if first > 0 {
        key_specification(reply, spec);
    }
    reply.set(spec.subcommands().count());
    spec.subcommands().for_each(|sub| tell(reply, sub));
}

/// Sharded channels are found as keys are, though they are none.
fn key_specification(reply: &mut Encoder<'_>, spec: &Spec) {
    let (first, last, step) = spec.keys;
    reply.map(3);
    reply.bulk("flags");
    reply.set(1);
    reply.simple("not_key");
    reply.bulk("begin_search");
    reply.map(2);
    reply.bulk("type");
    reply.bulk("index");
    reply.bulk("spec");
    reply.map(1);
    reply.bulk("index");
    reply.integer(first.into());
    reply.bulk("find_keys");
    reply.map(2);
    reply.bulk("type");
    reply.bulk("range");
    reply.bulk("spec");
    reply.map(3);
    reply.bulk("lastkey");
    // From the first one on.
    reply.integer(if last > 0 { last - first } else { last }.into());
    reply.bulk("keystep");
    reply.integer(step.into());
    reply.bulk("limit");
    reply.integer(0);
}

/// An argument as the table has it.
struct Argument {
    name: &'static str,
    kind: &'static str,
    is_optional: bool,
    is_multiple: bool,
}

fn arguments(spec: &'static Spec) -> impl Iterator<Item = Argument> {
    words(spec.arguments).into_iter().map(|text| {
        let (name, kind) = text.split_once(':').unwrap_or((text, "string"));
        Argument {
            name,
            kind: kind.trim_end_matches(['?', '*']),
            is_optional: kind.contains('?'),
            is_multiple: kind.contains('*'),
        }
    })
}

/// What `COMMAND DOCS` tells of a command.
fn explain(reply: &mut Encoder<'_>, spec: &'static Spec) {
    let (arguments, subcommands) = (arguments(spec).collect::<Vec<_>>(), spec.subcommands());
    let subcommands: Vec<_> = subcommands.collect();
    reply.bulk(spec.name);
    reply.map(3 + usize::from(!arguments.is_empty()) + usize::from(!subcommands.is_empty()));
    for (name, value) in [("summary", spec.summary), ("since", spec.since), ("group", spec.group)] {
        reply.bulk(name);
        reply.bulk(value);
    }
    if !arguments.is_empty() {
        reply.bulk("arguments");
        reply.array(arguments.len());
        for argument in arguments {
            let flags = [(argument.is_optional, "optional"), (argument.is_multiple, "multiple")];
            let flags: Vec<_> = flags.iter().filter(|(is_set, _)| *is_set).collect();
            reply.map(2 + usize::from(!flags.is_empty()));
            reply.bulk("name");
            reply.bulk(argument.name);
            reply.bulk("type");
            reply.bulk(argument.kind);
            if !flags.is_empty() {
                reply.bulk("flags");
                reply.set(flags.len());
                flags.into_iter().for_each(|(_, flag)| reply.simple(flag));
            }
        }
    }
    if !subcommands.is_empty() {
        reply.bulk("subcommands");
        reply.map(subcommands.len());
        subcommands.into_iter().for_each(|sub| explain(reply, sub));
    }
}
