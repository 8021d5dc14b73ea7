//! How much memory a service may use, as an option: octets, a size with its unit, or a share of
//! what there is.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use crate::size::{Given, Size};

/// As a share of the memory that there is: what RabbitMQ 3.x takes. Messages are not all that a
/// server holds, and the system's cache of files has to live as well.
const USUAL_SHARE: u64 = 40;

/// Where the system does not tell how much memory there is.
const USUAL_OCTETS: u64 = 1 << 30;

/// A limit on memory: `1000000`, `512MiB`, `40%` or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Given")]
pub(crate) enum MemoryLimit {
    Octets(u64),
    /// Percent of the machine's memory.
    Share(u64),
    Unlimited,
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self::Share(USUAL_SHARE)
    }
}

impl FromStr for MemoryLimit {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let given = given.trim();
        if given.eq_ignore_ascii_case("none") {
            return Ok(Self::Unlimited);
        }
        if let Some(percent) = given.strip_suffix('%') {
            return match percent.trim_end().parse() {
                Ok(percent @ 1..=100) => Ok(Self::Share(percent)),
                _ => Err("a share is 1% to 100%"),
            };
        }
        let size = Size::read(given);
        let form = "write bytes, a size as 512MiB, a share as 40%, or none";
        Self::of_octets(size.map_err(|error| error.text(form))?.0)
    }
}

impl TryFrom<Given> for MemoryLimit {
    type Error = &'static str;

    fn try_from(given: Given) -> Result<Self, Self::Error> {
        match given {
            Given::Octets(octets) => Self::of_octets(octets),
            Given::Text(text) => text.parse(),
        }
    }
}

impl MemoryLimit {
    fn of_octets(octets: u64) -> Result<Self, &'static str> {
        match octets {
            0 => Err("nothing could be stored; `none` is no limit"),
            _ => Ok(Self::Octets(octets)),
        }
    }

    /// In octets; `None` for no limit. A share is one of what this process can have: of the
    /// machine's memory, or of what its control group is given if that is less.
    pub(crate) fn octets(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Octets(octets) => Some(octets),
            Self::Share(percent) => Some(match available() {
                Some(octets) => (octets / 100).saturating_mul(percent).max(1),
                None => USUAL_OCTETS,
            }),
        }
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = match self.octets() {
            None => return f.write_str("as much memory as there is"),
            Some(octets) => octets,
        };
        match self {
            Self::Share(percent) if available().is_some() => {
                write!(f, "{octets} bytes of memory, {percent}% of what there is")
            }
            _ => write!(f, "{octets} bytes of memory"),
        }
    }
}

/// The memory that this process can have, as far as Linux tells.
fn available() -> Option<u64> {
    let installed = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    [installed, granted(&groups, Path::new("/sys/fs/cgroup"))].into_iter().flatten().min()
}

/// `MemTotal` of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The least that the control groups of `/proc/self/cgroup`, or one above them, may have.
fn granted(groups: &str, mount: &Path) -> Option<u64> {
    // `0::/a/b` is of version 2; `7:memory:/a/b`, or with more controllers, of version 1.
    let limits = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = Path::new(path.trim_start_matches('/'));
        // In a container the path may be the host's: then only the root is there.
        let limits = own.ancestors().filter_map(|group| {
            let text = fs::read_to_string(root.join(group).join(file)).ok()?;
            text.trim().parse::<u64>().ok() // `max` is none
        });
        limits.min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_bytes_a_size_a_share_or_none() {
        for (given, limit) in [
            ("1", MemoryLimit::Octets(1)),
            ("100MiB", MemoryLimit::Octets(100 << 20)),
            ("40%", MemoryLimit::Share(40)),
            (" 7 % ", MemoryLimit::Share(7)),
            ("none", MemoryLimit::Unlimited),
        ] {
            assert_eq!(given.parse(), Ok(limit), "{given}");
        }
        for given in ["", "0", "0MiB", "0%", "101%", "%", "1.5GiB", "-1", "99999999999TiB"] {
            assert!(given.parse::<MemoryLimit>().is_err(), "{given}");
        }
    }

    #[test]
    fn a_share_is_one_of_what_there_is() {
        let meminfo = "MemFree:  1 kB\nMemTotal:       16384000 kB\nBuffers: 2 kB\n";
        assert_eq!(total(meminfo), Some(16_777_216_000));
        assert_eq!(total("MemTotal: lots\n"), None);
        let (share, all) = (MemoryLimit::Share(50).octets(), MemoryLimit::Share(100).octets());
        assert!(share < all && share > Some(0), "{share:?} of {all:?}");
    }

    #[test]
    fn what_a_control_group_or_one_above_it_may_have_is_all_that_there_is() {
        let mount = std::env::temp_dir().join(format!("ropewalk-groups-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = mount.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a directory of ours");
            fs::write(path, text).expect("a file of ours");
        };
        write("slice/service/memory.max", "max\n");
        write("slice/memory.max", "3000\n");
        write("memory/old/memory.limit_in_bytes", "2000\n");
        assert_eq!(granted("0::/slice/service\n", &mount), Some(3000));
        assert_eq!(granted("0::/not/from/here\n", &mount), None);
        assert_eq!(granted("9:cpu:/\n7:hugetlb,memory:/old\n0::/slice\n", &mount), Some(2000));
        assert_eq!(granted("", &mount), None);
        let _ = fs::remove_dir_all(&mount);
    }
}
