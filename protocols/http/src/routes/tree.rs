//! All patterns as a tree of segments, and the search in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::{Segment, decode, segments};
use crate::Method;

/// What may follow the segments so far.
#[derive(Default)]
pub(super) struct Tree {
    literals: BTreeMap<Box<str>, Tree>,
    parameter: Option<Box<Tree>>,
    /// The pattern ends here: its handlers by method, and that for all others.
    methods: Vec<(Method, Leaf)>,
    any: Option<Leaf>,
    /// Everything below belongs to one handler.
    mount: Option<Leaf>,
}

/// A handler, by its place, and the names of the parameters on the way to it.
struct Leaf {
    place: usize,
    names: Arc<[Box<str>]>,
}

/// What a search came to.
pub(super) enum Found {
    Handler {
        place: usize,
        names: Arc<[Box<str>]>,
        values: Vec<String>,
        /// For a mount: bytes at the end of the path that belong to it.
        rest: Option<usize>,
    },
    /// There are handlers for these methods alone; the value of Allow.
    OtherMethods(String),
    /// Nothing fits, and a segment could not be read.
    Malformed,
    Nothing,
}

/// What is known on the way.
struct Search<'a> {
    method: Method,
    values: Vec<Cow<'a, str>>,
    /// Methods of patterns that fit.
    allowed: Vec<Method>,
    is_malformed: bool,
}

impl Tree {
    /// Adds a pattern; without a method, for all others.
    pub(super) fn insert(
        &mut self,
        pattern: &str,
        method: Option<Method>,
        place: usize,
    ) -> Result<(), &'static str> {
        let (node, names) = self.node(&segments(pattern)?);
        let leaf = Leaf { place, names };
        match method {
            Some(method) if node.methods.iter().any(|(there, _)| *there == method) => {
                return Err("there is another one for this path and method");
            }
            None if node.any.is_some() => return Err("there is another one for this path"),
            Some(method) => node.methods.push((method, leaf)),
            None => node.any = Some(leaf),
        }
        Ok(())
    }

    /// Gives everything below `prefix` to one handler.
    pub(super) fn mount(&mut self, prefix: &str, place: usize) -> Result<(), &'static str> {
        let mut segments = segments(prefix)?;
        if segments.last() == Some(&Segment::Literal("")) {
            segments.pop();
        }
        let (node, names) = self.node(&segments);
        if node.mount.is_some() {
            return Err("there is another one for this path");
        }
        node.mount = Some(Leaf { place, names });
        Ok(())
    }

    fn node(&mut self, segments: &[Segment<'_>]) -> (&mut Self, Arc<[Box<str>]>) {
        let (mut node, mut names) = (self, Vec::new());
        for segment in segments {
            node = match *segment {
                Segment::Literal(text) => node.literals.entry(text.into()).or_default(),
                Segment::Parameter(name) => {
                    names.push(name.into());
                    node.parameter.get_or_insert_default()
                }
            };
        }
        (node, names.into())
    }

    /// The handler for a path, still percent-encoded, that begins with `/`.
    pub(super) fn find(&self, path: &str, method: Method) -> Found {
        let mut search =
            Search { method, values: Vec::new(), allowed: Vec::new(), is_malformed: false };
        if let Some((leaf, rest)) = self.search(path.strip_prefix('/'), &mut search) {
            // A mount's handler sees parameters of the way to it alone.
            let values = search.values.into_iter().take(leaf.names.len());
            let values = values.map(Cow::into_owned).collect();
            return Found::Handler { place: leaf.place, names: leaf.names.clone(), values, rest };
        }
        if !search.allowed.is_empty() {
            return Found::OtherMethods(allow(search.allowed));
        }
        if search.is_malformed { Found::Malformed } else { Found::Nothing }
    }

    /// Looks for the rest of a path, `None` at its end. The depth is that of the patterns, whatever
    /// the path is.
    fn search<'a>(
        &self,
        path: Option<&'a str>,
        search: &mut Search<'a>,
    ) -> Option<(&Leaf, Option<usize>)> {
        let found = match path {
            None => self.leaf(search).map(|leaf| (leaf, None)),
            Some(path) => self.descend(path, search),
        };
        found.or_else(|| {
            let rest = path.map_or(0, |path| path.len() + 1);
            self.mount.as_ref().map(|leaf| (leaf, Some(rest)))
        })
    }

    fn descend<'a>(
        &self,
        path: &'a str,
        search: &mut Search<'a>,
    ) -> Option<(&Leaf, Option<usize>)> {
        if self.literals.is_empty() && self.parameter.is_none() {
            return None;
        }
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        let Some(segment) = decode(segment) else {
            search.is_malformed = true;
            return None;
        };
        if let Some(node) = self.literals.get(&*segment)
            && let Some(found) = node.search(rest, search)
        {
            return Some(found);
        }
        let node = self.parameter.as_ref().filter(|_| !segment.is_empty())?;
        let depth = search.values.len();
        search.values.push(segment);
        let found = node.search(rest, search);
        if found.is_none() {
            search.values.truncate(depth);
        }
        found
    }

    /// The handler of a pattern that ends here.
    fn leaf(&self, search: &mut Search<'_>) -> Option<&Leaf> {
        let of = |method| self.methods.iter().find(|(there, _)| *there == method);
        let found = of(search.method)
            .or_else(|| of(Method::Get).filter(|_| search.method == Method::Head))
            .map(|(_, leaf)| leaf)
            .or(self.any.as_ref());
        if found.is_none() {
            search.allowed.extend(self.methods.iter().map(|(method, _)| *method));
        }
        found
    }
}

/// The value of Allow: what has a handler, what GET brings along, and OPTIONS.
fn allow(mut methods: Vec<Method>) -> String {
    if methods.contains(&Method::Get) {
        methods.push(Method::Head);
    }
    methods.push(Method::Options);
    let mut names: Vec<_> = methods.iter().map(Method::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}
