//! The house rules that the compiler does not check: no async runtime in a library crate, and
//! imports that run one way.

use std::process::Command;

/// Crates that run futures or own a loop of their own. Test clients and bench peers may use
/// them; nothing that a user of a library crate compiles may.
const RUNTIMES: &[&str] = &[
    "actix-rt",
    "async-executor",
    "async-global-executor",
    "async-io",
    "async-std",
    "calloop",
    "compio",
    "embassy-executor",
    "futures-executor",
    "glommio",
    "may",
    "monoio",
    "ntex-rt",
    "smol",
    "tokio",
    "tokio-util",
    "tokio-uring",
];

const LIBRARIES: &[&str] = &[
    "ropewalk",
    "ropewalk-reactor",
    "ropewalk-broker",
    "ropewalk-store",
    "ropewalk-database",
    "ropewalk-line",
    "ropewalk-http",
    "ropewalk-amqp",
    "ropewalk-redis",
    "ropewalk-bridge",
];

/// The names of all crates that `package` is built from, its own first.
fn tree(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--all-features",
        ])
        .args(["--package", package])
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("crate names are ASCII");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn no_async_runtime_is_in_the_tree_of_a_library_crate() {
    for library in LIBRARIES {
        let tree = tree(library);
        assert!(tree.iter().any(|name| name == library), "{library}: {tree:?}");
        for runtime in RUNTIMES {
            assert!(!tree.iter().any(|name| name == runtime), "{library} is built from {runtime}");
        }
    }
}

#[test]
fn imports_run_one_way_and_no_protocol_imports_another_but_for_line() {
    let allowed: &[(&str, &[&str])] = &[
        ("ropewalk-reactor", &[]),
        ("ropewalk-broker", &[]),
        ("ropewalk-store", &[]),
        ("ropewalk-database", &["ropewalk-reactor"]),
        ("ropewalk-line", &["ropewalk-reactor"]),
        ("ropewalk-http", &["ropewalk-reactor", "ropewalk-line"]),
        ("ropewalk-amqp", &["ropewalk-reactor", "ropewalk-broker", "ropewalk-store"]),
        ("ropewalk-redis", &["ropewalk-reactor"]),
        (
            "ropewalk-bridge",
            &[
                "ropewalk-reactor",
                "ropewalk-broker",
                "ropewalk-store",
                "ropewalk-amqp",
                "ropewalk-redis",
            ],
        ),
    ];
    for (library, allowed) in allowed {
        for name in tree(library).iter().filter(|name| name.starts_with("ropewalk")) {
            assert!(name == library || allowed.contains(&&**name), "{library} imports {name}");
        }
    }
}

#[test]
fn a_user_of_the_facade_pulls_no_command_line() {
    for name in tree("ropewalk") {
        assert!(!["clap", "toml", "serde", "env_logger"].contains(&&*name), "{name}");
    }
}
