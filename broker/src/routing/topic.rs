//! The topic exchange: a trie of words, so that bindings that do not match cost nothing.
//!
//! Keys are bytes split at every `.`; the empty key has no words. `*` is one word, `#` any
//! number. The walk visits each pair of node and word at most once, however many `#` there are:
//! a `#` remembers from which word on it was tried, and tries only what lies before that.

use super::{Bound, remove_bound};
use crate::binding::Target;
use crate::ids::BindingId;
use crate::names::{Name, NameHash, NameMap};

pub(crate) struct Topic {
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// The number of the walk, for `Node::tried`.
    walk: u64,
    stack: Vec<(u32, u16)>,
    hash: NameHash,
}

const ROOT: u32 = 0;
const NOWHERE: u32 = u32::MAX;

#[derive(Default)]
struct Node {
    /// By word; the wildcards stand apart.
    children: Children,
    star: Link,
    hash: Link,
    bound: Vec<Bound>,
    /// For the node of a `#`: in walk `tried.0` all words from `tried.1` on were tried.
    tried: (u64, u16),
}

/// The children of a node: a sorted list while they are few, a map beyond.
enum Children {
    Few(Vec<(Name, u32)>),
    Many(NameMap<u32>),
}

/// Four comparisons of words that may lie anywhere cost about what a hash does.
const FEW: usize = 16;

impl Default for Children {
    fn default() -> Children {
        Children::Few(Vec::new())
    }
}

impl Children {
    #[inline]
    fn get(&self, word: &[u8]) -> Option<u32> {
        match self {
            Children::Few(list) => {
                let at = list.binary_search_by(|(name, _)| (**name).cmp(word)).ok()?;
                Some(list[at].1)
            }
            Children::Many(map) => map.get(word).copied(),
        }
    }

    fn insert(&mut self, word: &[u8], child: u32, hash: NameHash) {
        match self {
            Children::Few(list) if list.len() < FEW => {
                let at = list.partition_point(|(name, _)| **name < *word);
                list.insert(at, (word.into(), child));
            }
            Children::Few(list) => {
                let mut map = hash.map();
                map.extend(std::mem::take(list));
                map.insert(word.into(), child);
                *self = Children::Many(map);
            }
            Children::Many(map) => drop(map.insert(word.into(), child)),
        }
    }

    fn remove(&mut self, word: &[u8]) {
        match self {
            Children::Few(list) => list.retain(|(name, _)| **name != *word),
            Children::Many(map) => drop(map.remove(word)),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Children::Few(list) => list.is_empty(),
            Children::Many(map) => map.is_empty(),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Link(u32);

impl Default for Link {
    fn default() -> Link {
        Link(NOWHERE)
    }
}

impl Topic {
    pub(super) fn new(hash: NameHash) -> Topic {
        let nodes = vec![Node::default()];
        Topic { nodes, free: Vec::new(), walk: 0, stack: Vec::new(), hash }
    }

    /// The bindings with exactly this key.
    pub(super) fn bound(&self, key: &[u8]) -> &[Bound] {
        let mut at = ROOT;
        for word in words(key) {
            match self.child(at, word) {
                Some(child) => at = child,
                None => return &[],
            }
        }
        &self.nodes[at as usize].bound
    }

    pub(super) fn insert(&mut self, key: &[u8], bound: Bound) {
        let mut at = ROOT;
        for word in words(key) {
            at = match self.child(at, word) {
                Some(child) => child,
                None => self.add_child(at, word),
            };
        }
        self.nodes[at as usize].bound.push(bound);
    }

    pub(super) fn remove(&mut self, key: &[u8], id: BindingId) {
        let mut path = vec![ROOT];
        for word in words(key) {
            match self.child(path[path.len() - 1], word) {
                Some(child) => path.push(child),
                None => return,
            }
        }
        remove_bound(&mut self.nodes[path[path.len() - 1] as usize].bound, id);
        // Branches that lead nowhere any more are cut, from the tip down.
        let words: Vec<&[u8]> = words(key).collect();
        while path.len() > 1 {
            let tip = path[path.len() - 1];
            if !self.nodes[tip as usize].is_empty() {
                break;
            }
            path.pop();
            let (parent, word) = (path[path.len() - 1], words[path.len() - 1]);
            self.remove_child(parent, word);
            self.nodes[tip as usize] = Node::default();
            self.free.push(tip);
        }
    }

    /// Adds the targets of all bindings that match `key` to `found`; one may come twice.
    pub(super) fn find_matches(
        &mut self,
        key: &[u8],
        split: &mut Vec<(u16, u16)>,
        found: &mut Vec<Target>,
    ) {
        split.clear();
        // A key is a short string, so offsets fit 16 bits by far.
        let base = key.as_ptr() as usize;
        split.extend(words(key).map(|word| {
            let start = word.as_ptr() as usize - base;
            (start as u16, (start + word.len()) as u16)
        }));
        let count = split.len() as u16;
        self.walk += 1;
        self.stack.push((ROOT, 0));
        while let Some((at, word)) = self.stack.pop() {
            let node = &self.nodes[at as usize];
            if word == count {
                found.extend(node.bound.iter().map(|bound| bound.target));
            } else {
                let (start, end) = split[usize::from(word)];
                let text = &key[usize::from(start)..usize::from(end)];
                if let Some(child) = node.children.get(text) {
                    self.stack.push((child, word + 1));
                }
                if node.star.0 != NOWHERE {
                    self.stack.push((node.star.0, word + 1));
                }
            }
            let hash = node.hash.0;
            if hash != NOWHERE {
                let tried = &mut self.nodes[hash as usize].tried;
                let end = if tried.0 == self.walk { tried.1 } else { count + 1 };
                if word < end {
                    *tried = (self.walk, word);
                    self.stack.extend((word..end).map(|word| (hash, word)));
                }
            }
        }
    }

    fn child(&self, at: u32, word: &[u8]) -> Option<u32> {
        let node = &self.nodes[at as usize];
        let child = match word {
            b"*" => node.star.0,
            b"#" => node.hash.0,
            _ => node.children.get(word).unwrap_or(NOWHERE),
        };
        (child != NOWHERE).then_some(child)
    }

    fn add_child(&mut self, at: u32, word: &[u8]) -> u32 {
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            u32::try_from(self.nodes.len() - 1).expect("memory ends before 2^32 nodes")
        });
        let node = &mut self.nodes[at as usize];
        match word {
            b"*" => node.star = Link(child),
            b"#" => node.hash = Link(child),
            _ => node.children.insert(word, child, self.hash),
        }
        child
    }

    fn remove_child(&mut self, at: u32, word: &[u8]) {
        let node = &mut self.nodes[at as usize];
        match word {
            b"*" => node.star = Link::default(),
            b"#" => node.hash = Link::default(),
            _ => node.children.remove(word),
        }
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.bound.is_empty()
            && self.children.is_empty()
            && self.star == Link::default()
            && self.hash == Link::default()
    }
}

/// The words of a key: none for the empty key, else one more than there are dots.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = if key.is_empty() { 0 } else { usize::MAX };
    key.split(|&byte| byte == b'.').take(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{QueueId, Slots};

    struct Table {
        topic: Topic,
        ids: Slots<BindingId, ()>,
        queues: Slots<QueueId, ()>,
        bound: Vec<(Vec<u8>, Bound)>,
    }

    impl Table {
        fn new(keys: &[&[u8]]) -> Table {
            let (ids, queues) = (Slots::new(), Slots::new());
            let mut table =
                Table { topic: Topic::new(NameHash::new([1, 2])), ids, queues, bound: Vec::new() };
            keys.iter().for_each(|key| table.bind(key));
            table
        }

        fn bind(&mut self, key: &[u8]) {
            let target = Target::Queue(self.queues.insert(()));
            let bound = Bound { id: self.ids.insert(()), target };
            self.topic.insert(key, bound);
            self.bound.push((key.to_vec(), bound));
        }

        fn matches(&mut self, key: &[u8]) -> Vec<&[u8]> {
            let (mut split, mut found) = (Vec::new(), Vec::new());
            self.topic.find_matches(key, &mut split, &mut found);
            let hits = |bound: &Bound| found.iter().filter(|it| **it == bound.target).count();
            assert!(self.bound.iter().all(|(_, bound)| hits(bound) <= 1), "found twice");
            let all = self.bound.iter();
            all.filter(|(_, bound)| hits(bound) > 0).map(|(key, _)| &key[..]).collect()
        }
    }

    /// Reads `'key' <- ['a', 'b']` lines.
    fn matrix() -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let text = include_str!("../../tests/data/topic-matrix.txt");
        let quoted = |text: &str| -> Vec<Vec<u8>> {
            text.split('\'').skip(1).step_by(2).map(|it| it.as_bytes().to_vec()).collect()
        };
        let lines = text.lines().filter(|line| line.starts_with('\''));
        lines
            .map(|line| {
                let (key, bindings) = line.split_once("<-").expect("an arrow");
                (quoted(key).remove(0), quoted(bindings))
            })
            .collect()
    }

    #[test]
    fn every_cell_of_rabbitmqs_matrix_agrees() {
        let matrix = matrix();
        let mut bindings: Vec<Vec<u8>> = matrix.iter().flat_map(|(_, it)| it.clone()).collect();
        bindings.sort();
        bindings.dedup();
        assert_eq!((matrix.len(), bindings.len()), (22, 32), "the whole matrix was read");
        let keys: Vec<&[u8]> = bindings.iter().map(Vec::as_slice).collect();
        let mut table = Table::new(&keys);
        for (key, mut expected) in matrix {
            expected.sort();
            assert_eq!(table.matches(&key), expected, "{}", String::from_utf8_lossy(&key));
        }
    }

    #[test]
    fn the_last_binding_of_a_branch_takes_the_branch_along() {
        let mut table = Table::new(&[b"a.b.c", b"a.b", b"a.*.#", b"#"]);
        for (key, bound) in std::mem::take(&mut table.bound) {
            table.topic.remove(&key, bound.id);
        }
        assert!(table.topic.nodes[ROOT as usize].is_empty());
        assert_eq!(table.topic.free.len(), table.topic.nodes.len() - 1);
        table.bind(b"x.y");
        assert_eq!(table.matches(b"x.y"), [b"x.y"]);
    }

    #[test]
    fn a_node_with_many_children_finds_each_of_them() {
        let keys: Vec<String> = (0..100).map(|at| format!("a.k{at}.#")).collect();
        let mut table = Table::new(&keys.iter().map(|key| key.as_bytes()).collect::<Vec<_>>());
        for (at, key) in keys.iter().enumerate() {
            let routing = format!("a.k{at}.x.y");
            assert_eq!(table.matches(routing.as_bytes()), [key.as_bytes()]);
        }
        assert!(table.matches(b"a.k100").is_empty());
        for (key, bound) in std::mem::take(&mut table.bound) {
            table.topic.remove(&key, bound.id);
        }
        assert!(table.topic.nodes[ROOT as usize].is_empty());
    }

    #[test]
    fn many_hashes_do_not_blow_up() {
        let key = vec![&b"#"[..]; 100].join(&b".a."[..]);
        let mut table = Table::new(&[&key]);
        let routing = vec![&b"a"[..]; 120].join(&b"."[..]);
        assert_eq!(table.matches(&routing).len(), 1);
        let missing = [&routing[..], b".b"].concat();
        let mut other = Table::new(&[&[&key[..], b".a.#.a.#.c"].concat()]);
        assert!(other.matches(&missing).is_empty());
    }

    /// The obvious matcher: try everything.
    fn matches(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&b"#", rest)), _) => (0..=key.len()).any(|skip| matches(rest, &key[skip..])),
            (Some((&b"*", rest)), Some((_, key))) => matches(rest, key),
            (Some((word, rest)), Some((first, key))) => word == first && matches(rest, key),
            _ => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn the_trie_agrees_with_trying_everything(
            patterns in proptest::collection::vec("([ab*#](\\.[ab*#]){0,4})?", 1..12),
            keys in proptest::collection::vec("([ab](\\.[ab]?){0,6})?", 1..12),
        ) {
            let mut patterns = patterns;
            patterns.sort();
            patterns.dedup();
            let bytes: Vec<&[u8]> = patterns.iter().map(|it| it.as_bytes()).collect();
            let mut table = Table::new(&bytes);
            for key in &keys {
                let split: Vec<&[u8]> = words(key.as_bytes()).collect();
                let expected: Vec<&[u8]> = bytes
                    .iter()
                    .copied()
                    .filter(|it| matches(&words(it).collect::<Vec<_>>(), &split))
                    .collect();
                proptest::prop_assert_eq!(table.matches(key.as_bytes()), expected);
            }
        }
    }
}
