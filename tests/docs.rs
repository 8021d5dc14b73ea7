//! The listings of the guide and the README are parts of programs that the tests run, word for
//! word, and what they link to exists.

use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block of Rust, TOML or a systemd unit, and the file that it claims to be a part of.
struct Listing {
    line: usize,
    source: Option<String>,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and every chapter, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = vec![root().join("README.md")];
    for entry in fs::read_dir(root().join("docs")).expect("docs/ is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    let read = |page: PathBuf| {
        let text = fs::read_to_string(&page).expect("text");
        (page, text)
    };
    pages.into_iter().map(read).collect()
}

/// The listings of a page: a line `<!-- path -->`, then the fence.
fn listings(page: &str) -> Vec<Listing> {
    let mut listings = Vec::new();
    let mut lines = page.lines().enumerate();
    let mut source = None;
    while let Some((number, line)) = lines.next() {
        let other = ["```toml", "```ini"].contains(&line) && source.is_some();
        if line.starts_with("```rust") || other {
            let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            let text = body.map(|line| format!("{line}\n")).collect();
            listings.push(Listing { line: number + 1, source: source.take(), text });
        } else {
            let named = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->"));
            source = named.map(str::to_owned);
        }
    }
    listings
}

#[test]
fn every_listing_is_part_of_the_file_that_it_names() {
    let mut seen = 0;
    for (page, text) in pages() {
        for Listing { line, source, text } in listings(&text) {
            let place = format!("{}:{line}", page.display());
            let source = source.unwrap_or_else(|| panic!("{place}: the listing names no file"));
            let file = fs::read_to_string(root().join(&source));
            let file = file.unwrap_or_else(|error| panic!("{place}: {source}: {error}"));
            assert!(!text.trim().is_empty(), "{place}: the listing is empty");
            assert!(file.contains(&text), "{place}: this is not in {source}:\n{text}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} listings were found");
}

#[test]
fn every_listing_of_a_program_is_of_one_that_the_tests_run() {
    for (page, text) in pages() {
        for listing in listings(&text) {
            let source = listing.source.unwrap_or_default();
            let tested = source.starts_with("examples/")
                || ["/src/", "/tests/"].iter().any(|folder| source.contains(folder));
            assert!(tested, "{}:{}: {source}", page.display(), listing.line);
        }
    }
}

#[test]
fn every_link_to_a_file_finds_it() {
    for (page, text) in pages() {
        let folder = page.parent().expect("a page is in a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap_or(link);
            assert!(folder.join(file).exists(), "{}: {link}", page.display());
        }
    }
}

/// The programs in `examples/`, with their text.
fn examples() -> Vec<(String, String)> {
    let entries = fs::read_dir(root().join("examples")).expect("examples/ is there");
    let mut examples: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name()?.to_str()?.strip_suffix(".rs")?.to_owned();
            Some((name, fs::read_to_string(&path).expect("text")))
        })
        .collect();
    examples.sort();
    examples
}

#[test]
fn the_table_of_examples_has_each_of_them_once() {
    let page = fs::read_to_string(root().join("docs/README.md")).expect("it is there");
    let rows = page.lines().skip_while(|line| !line.starts_with("| example |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let mut named: Vec<_> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    named.sort();
    let there: Vec<_> = examples().into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, there);
}

/// Whoever tries one while another one runs should not have to think of a port.
#[test]
fn no_two_examples_that_listen_do_so_at_the_same_address() {
    let mut listening: Vec<(String, String)> = Vec::new();
    for (name, text) in examples() {
        // What they say of it, and the address that stands for no argument.
        if !text.contains("listening on") {
            continue;
        }
        let line = text.lines().find(|line| line.contains("let address ="));
        let address = line.and_then(|line| line.split('"').nth(1));
        let address = address.unwrap_or_else(|| panic!("{name}: where does it listen?"));
        if let Some((other, _)) = listening.iter().find(|(_, taken)| taken == address) {
            panic!("{name} and {other} both listen on {address}");
        }
        let head = text.lines().take_while(|line| line.starts_with("//!"));
        let by_hand = |word: &str| ["nc", "`nc", "curl"].contains(&word);
        let mut tried = head.filter(|line| line.split(' ').any(by_hand));
        let port = address.rsplit(':').next().unwrap_or_default();
        assert!(tried.all(|line| line.contains(port)), "{name}: it is to be tried at {port}");
        listening.push((name, address.to_owned()));
    }
    assert!(listening.len() >= 20, "{listening:?}");
}

/// Files of the reactor and the store that the guide speaks of are there under that name.
#[test]
fn every_source_file_that_is_named_exists() {
    for (page, text) in pages() {
        for name in text.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") && !name.contains(' ') && name != "*.rs" {
                let places = [
                    "",
                    "reactor/src/",
                    "store/src/",
                    "protocols/line/src/",
                    "examples/",
                    "tests/",
                ];
                let found = places.iter().any(|place| root().join(place).join(name).exists());
                assert!(found, "{}: {name}", page.display());
            }
        }
    }
}
