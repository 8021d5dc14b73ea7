//! From the string to the endpoint. Whoever writes a wrong one is told what is wrong with it and
//! shown a right one of the same kind.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::{
    BACKLOG, CERTIFICATE, CLIENT_CA, Endpoint, KEY, Listening, MODE, PROXY, Passed, REUSE_PORT,
    Target, TlsFiles,
};
use crate::address::{Address, UnixAddress};
use crate::{Error, percent};

/// The kinds of address: what each may say behind its `?`, and how a right one looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Tls,
    Udp,
    Unix,
    Systemd,
}

impl Kind {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Tcp => &[PROXY, BACKLOG, REUSE_PORT],
            Self::Tls => &[CERTIFICATE, KEY, CLIENT_CA, PROXY, BACKLOG, REUSE_PORT],
            Self::Udp => &[REUSE_PORT],
            Self::Unix => &[MODE, PROXY, BACKLOG],
            Self::Systemd => &[PROXY],
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Tcp => "tcp://127.0.0.1:8080",
            Self::Tls => "tls://127.0.0.1:8443?cert=server.pem&key=server.key",
            Self::Udp => "udp://127.0.0.1:8053",
            Self::Unix => "unix:/run/app.sock?mode=660",
            Self::Systemd => "systemd:0",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp://",
            Self::Tls => "tls://",
            Self::Udp => "udp://",
            Self::Unix => "unix:",
            Self::Systemd => "systemd:",
        }
    }
}

pub(super) fn bad(given: &str, problem: impl Into<String>) -> Error {
    let like = Kind::Tcp.example();
    Error::BadAddress { given: given.to_owned(), problem: problem.into(), like }
}

pub(super) fn endpoint(given: &str) -> Result<Endpoint, Error> {
    let (kind, rest) = kind(given).map_err(|problem| bad(given, problem))?;
    read(kind, rest).map_err(|problem| Error::BadAddress {
        given: given.to_owned(),
        problem,
        like: kind.example(),
    })
}

fn kind(given: &str) -> Result<(Kind, &str), String> {
    for kind in [Kind::Tcp, Kind::Tls, Kind::Udp, Kind::Unix, Kind::Systemd] {
        if let Some(rest) = given.strip_prefix(kind.name()) {
            return Ok((kind, rest));
        }
    }
    match given.split_once("://") {
        Some((scheme, _)) => Err(format!(
            "{scheme}:// is not known here: there are tcp://, tls://, udp://, unix: and systemd:"
        )),
        None if given.starts_with(['/', '.', '@']) => {
            Err(format!("a Unix socket is written unix:{given}"))
        }
        None => Ok((Kind::Tcp, given)),
    }
}

fn read(kind: Kind, rest: &str) -> Result<Endpoint, String> {
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let target = match kind {
        Kind::Tcp | Kind::Tls => host_and_port(place)?,
        Kind::Udp => match host_and_port(place)? {
            Target::Address(Address::Tcp(address)) => Target::Address(Address::Udp(address)),
            target => target,
        },
        Kind::Unix => Target::Address(Address::Unix(UnixAddress::read(place)?)),
        Kind::Systemd => Target::Systemd(passed(place)?),
    };
    let mut endpoint = Endpoint::new(target);
    endpoint.datagrams = kind == Kind::Udp;
    endpoint.tls = (kind == Kind::Tls).then(Box::default);
    for option in query.into_iter().flat_map(|query| query.split('&')) {
        set(&mut endpoint, kind, option)?;
    }
    match endpoint.tls() {
        Some(TlsFiles { certificate: Some(_), key: None, .. }) => {
            Err("cert= needs its private key: key=".to_owned())
        }
        Some(TlsFiles { certificate: None, key: Some(_), .. }) => {
            Err("key= needs its certificate: cert=".to_owned())
        }
        _ => Ok(endpoint),
    }
}

fn host_and_port(place: &str) -> Result<Target, String> {
    if let Ok(address) = place.parse::<SocketAddr>() {
        return Ok(Target::Address(Address::Tcp(address)));
    }
    let bare_ipv6 = || "an IPv6 address stands in brackets, as in [::1]:8080".to_owned();
    let (host, port) = match place.rsplit_once(':') {
        _ if place.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) => {
            return Err(bare_ipv6());
        }
        None | Some((_, "")) => return Err("the port is missing".to_owned()),
        Some((host, _)) if host.starts_with('[') && !host.ends_with(']') => {
            return Err("the port is missing".to_owned());
        }
        Some(parts) => parts,
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("port {port:?} is not a number"));
    }
    let port: u16 = port.parse().map_err(|_| format!("port {port} is over {}", u16::MAX))?;
    if host.is_empty() {
        return Err("the host is missing (0.0.0.0 is every IPv4 address of this machine, [::] \
                    every IPv6 address)"
            .to_owned());
    }
    if let Some(inside) = host.strip_prefix('[') {
        return Err(format!("{:?} is not an IPv6 address", inside.trim_end_matches(']')));
    }
    if host.contains(':') {
        return Err(bare_ipv6());
    }
    self::host(host, port)
}

/// A host, by its IP address without brackets or by its name.
pub(super) fn host(host: &str, port: u16) -> Result<Target, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Target::Address(SocketAddr::new(address, port).into()));
    }
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{host:?} is not an IPv4 address"));
    }
    if host.len() > MAX_HOST_NAME || !host.bytes().all(is_name_byte) {
        return Err(format!("{host:?} is not a host name"));
    }
    Ok(Target::Name { host: host.to_owned(), port })
}

/// RFC 1035 §2.3.4: a name is at most 255 octets, 253 of them as text.
const MAX_HOST_NAME: usize = 253;

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

fn passed(place: &str) -> Result<Passed, String> {
    if place.is_empty() {
        return Err("which socket is missing: its place, counted from 0, or its name".to_owned());
    }
    let name = String::from_utf8(percent::decode(place)?).unwrap_or_default();
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        let index = name.parse().map_err(|_| format!("there is no socket {name}"))?;
        return Ok(Passed::Index(index));
    }
    // systemd.socket(5), FileDescriptorName=: ASCII, neither control characters nor ":".
    let good = name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b':');
    match good && (1..=255).contains(&name.len()) {
        true => Ok(Passed::Name(name)),
        false => Err(format!("{place:?} is neither the place of a socket nor a name")),
    }
}

/// Sets one option, `name=value`.
fn set(endpoint: &mut Endpoint, kind: Kind, option: &str) -> Result<(), String> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    if !kind.options().contains(&name) {
        let all = kind.options().join(", ");
        return Err(match name {
            "" => format!("an option is missing behind the ?: one of {all}"),
            _ => format!("{} has no option {name:?}, but {all}", kind.name()),
        });
    }
    if value.is_empty() {
        return Err(format!("{name}= has no value"));
    }
    let Listening { proxy, backlog, reuse_port, mode } = &mut endpoint.listening;
    match (name, &mut endpoint.tls) {
        (PROXY, _) => once(proxy, name, boolean(name, value)?),
        (REUSE_PORT, _) => once(reuse_port, name, boolean(name, value)?),
        (BACKLOG, _) => once(backlog, name, number(name, value)?),
        (MODE, _) => once(mode, name, permissions(value)?),
        (CERTIFICATE, Some(tls)) => once(&mut tls.certificate, name, path(value)?),
        (KEY, Some(tls)) => once(&mut tls.key, name, path(value)?),
        (CLIENT_CA, Some(tls)) => once(&mut tls.client_ca, name, path(value)?),
        _ => Ok(()), // none of this kind's options
    }
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name}= is given twice")),
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("{name}={value} is neither true nor false"))
}

fn number(name: &str, value: &str) -> Result<u32, String> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|&number| digits && i32::try_from(number).is_ok());
    number.ok_or_else(|| format!("{name}={value} is not a number up to {}", i32::MAX))
}

fn permissions(value: &str) -> Result<u32, String> {
    let digits = value.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(value, 8).ok().filter(|&mode| digits && mode <= 0o777);
    mode.ok_or_else(|| {
        format!("mode={value} is not three octal digits, one each for owner, group and others")
    })
}

fn path(value: &str) -> Result<PathBuf, String> {
    let bytes = percent::decode(value)?;
    match bytes.contains(&0) {
        true => Err("a file's name has no NUL in it".to_owned()),
        false => Ok(PathBuf::from(OsString::from_vec(bytes))),
    }
}
