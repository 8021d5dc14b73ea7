//! The header of the PROXY protocol, versions 1 and 2: what a proxy says before anything else of
//! the client whose connection it passes on. From bytes to an address; nothing is received here.
//!
//! The specification is haproxy's `proxy-protocol.txt`; sections below are those of its version of
//! 2020/03/05.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use crate::address::{Address, UnixAddress};

/// Section 2.1: the longest line of version 1, its CRLF included.
const MOST_V1: usize = 107;
/// The longest header of version 2. Addresses take 232 bytes at most; the rest is for what a proxy
/// adds (a client's certificate, say), of which nothing is used here. nginx's limit as well.
pub(crate) const MOST: usize = 4096;
/// Section 2.2: what version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, a byte each for version and command, and for family and transport, and the
/// length of what follows.
const FIXED_V2: usize = 16;

/// How far the header is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A good beginning, all of it, and not the whole.
    Incomplete,
    /// It takes the first `length` bytes. `peer` is `None` when the connection is the proxy's own
    /// (a health check), or one of which it tells nothing: then the socket's own address counts.
    Whole { length: usize, peer: Option<Address> },
}

/// Reads the header at the beginning of `data`.
pub(crate) fn read(data: &[u8]) -> Result<Progress, &'static str> {
    let begins = |with: &[u8]| data.iter().zip(with).all(|(one, other)| one == other);
    if begins(SIGNATURE) {
        read_v2(data)
    } else if begins(b"PROXY ") {
        read_v1(data)
    } else {
        Err("it begins with something else")
    }
}

fn read_v1(data: &[u8]) -> Result<Progress, &'static str> {
    let data = &data[..data.len().min(MOST_V1)];
    let Some(end) = data.windows(2).position(|pair| pair == b"\r\n") else {
        return match data.len() {
            MOST_V1 => Err("its line is longer than 107 bytes"),
            _ => Ok(Progress::Incomplete),
        };
    };
    let line = std::str::from_utf8(&data[..end]).map_err(|_| "its line is no ASCII")?;
    let mut fields = line.split(' ').skip(1);
    let mut field = || fields.next().unwrap_or_default();
    let family = field();
    let peer = if family == "UNKNOWN" {
        None // whatever stands behind it
    } else {
        let (source, _) = (ip(family, field())?, ip(family, field())?);
        let (source_port, _) = (port(field())?, port(field())?);
        if fields.next().is_some() {
            return Err("something stands behind its ports");
        }
        Some(SocketAddr::new(source, source_port).into())
    };
    Ok(Progress::Whole { length: end + 2, peer })
}

fn ip(family: &str, field: &str) -> Result<IpAddr, &'static str> {
    let wrong = "an address in its line is none of that family";
    match family {
        "TCP4" => field.parse::<Ipv4Addr>().map(IpAddr::from).map_err(|_| wrong),
        "TCP6" => field.parse::<Ipv6Addr>().map(IpAddr::from).map_err(|_| wrong),
        _ => Err("its line names none of TCP4, TCP6 and UNKNOWN"),
    }
}

fn port(field: &str) -> Result<u16, &'static str> {
    let digits = field.bytes().all(|byte| byte.is_ascii_digit());
    let plain = field == "0" || !field.starts_with('0');
    let port = field.parse().ok().filter(|_| digits && plain);
    port.ok_or("a port in its line is no number from 0 to 65535")
}

fn read_v2(data: &[u8]) -> Result<Progress, &'static str> {
    let Some((fixed, rest)) = data.split_first_chunk::<FIXED_V2>() else {
        return Ok(Progress::Incomplete);
    };
    let [command, family, high, low] = fixed[12..] else { return Ok(Progress::Incomplete) };
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err("its version or its command is unknown"),
    };
    let behind = usize::from(u16::from_be_bytes([high, low]));
    let length = FIXED_V2 + behind;
    if length > MOST {
        return Err("it is longer than 4096 bytes");
    }
    let Some(addresses) = rest.get(..behind) else { return Ok(Progress::Incomplete) };
    let too_short = "its length leaves no room for its addresses";
    let peer = match family {
        _ if local => None, // the rest means nothing then
        0x11 => {
            let (source, rest) = addresses.split_first_chunk::<4>().ok_or(too_short)?;
            let ports = rest.get(4..8).ok_or(too_short)?;
            Some(SocketAddr::new(Ipv4Addr::from(*source).into(), first_port(ports)).into())
        }
        0x21 => {
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or(too_short)?;
            let ports = rest.get(16..20).ok_or(too_short)?;
            Some(SocketAddr::new(Ipv6Addr::from(*source).into(), first_port(ports)).into())
        }
        0x31 => {
            let paths = addresses.get(..216).ok_or(too_short)?;
            Some(Address::Unix(unix(&paths[..108])))
        }
        // Unspecified, or a datagram's: nothing that a stream has.
        0x00 | 0x12 | 0x22 | 0x32 => None,
        _ => return Err("its address family is unknown"),
    };
    Ok(Progress::Whole { length, peer })
}

fn first_port(ports: &[u8]) -> u16 {
    ports.first_chunk().map_or(0, |port| u16::from_be_bytes(*port))
}

/// A `sun_path`: a path up to its NUL, or an abstract name behind one.
fn unix(field: &[u8]) -> UnixAddress {
    let end = |bytes: &[u8]| bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let address = match field {
        [0, name @ ..] => UnixAddress::from_abstract_name(&name[..end(name)]),
        path => UnixAddress::new(OsStr::from_bytes(&path[..end(path)])),
    };
    address.unwrap_or(UnixAddress::unnamed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::{Protocol, ProxiedAddress, ProxyHeader, Tlv};

    use super::*;

    fn whole(data: &[u8]) -> (usize, Option<String>) {
        match read(data) {
            Ok(Progress::Whole { length, peer }) => (length, peer.map(|peer| peer.to_string())),
            other => panic!("{}: {other:?}", data.escape_ascii()),
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short");
        [SIGNATURE, &[command, family][..], &length.to_be_bytes(), rest].concat()
    }

    /// Headers, and whom they name.
    fn headers() -> Vec<(Vec<u8>, Option<String>)> {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xab, 0xcd, 0, 80];
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[32..34].copy_from_slice(&443_u16.to_be_bytes());
        let (mut path, mut name) = ([0; 216], [0; 216]);
        path[..6].copy_from_slice(b"/run/x");
        name[1..4].copy_from_slice(b"app");
        let more = [&v4[..], b"\x04\x00\x03abc"].concat();
        let broad = ["ffff"; 8].join(":");
        let longest = format!("PROXY TCP6 {broad} {broad} 65535 65535\r\n");
        vec![
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 43981 80\r\n".to_vec(),
                Some("tcp://192.0.2.1:43981".into()),
            ),
            (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 65535\r\n".to_vec(), Some("tcp://0.0.0.0:0".into())),
            (b"PROXY TCP6 ::1 2001:db8::2 443 80\r\n".to_vec(), Some("tcp://[::1]:443".into())),
            (longest.into_bytes(), Some(format!("tcp://[{broad}]:65535"))),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN anything at all\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("tcp://192.0.2.1:43981".into())),
            (v2(0x21, 0x11, &more), Some("tcp://192.0.2.1:43981".into())),
            (v2(0x21, 0x21, &v6), Some("tcp://[::1]:443".into())),
            (v2(0x21, 0x31, &path), Some("unix:/run/x".into())),
            (v2(0x21, 0x31, &name), Some("unix:@app".into())),
            (v2(0x21, 0x31, &[0; 216]), Some("unix:(unnamed)".into())),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x12, &v4), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x20, 0xff, b"whatever"), None),
        ]
    }

    #[test]
    fn a_header_names_the_client_and_ends_where_its_data_begins() {
        for (header, peer) in headers() {
            let data = [&header[..], b"PROXY \r\n data"].concat();
            assert_eq!(whole(&data), (header.len(), peer.clone()));
            for cut in 0..header.len() {
                let progress = read(&header[..cut]);
                assert_eq!(
                    progress,
                    Ok(Progress::Incomplete),
                    "{} at {cut}",
                    header.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
        for (data, problem) in [
            (&b"GET / HTTP/1.1\r\n"[..], "begins with something else"),
            (b"G", "begins with something else"),
            (b"PROXX", "begins with something else"),
            (b"PROXY\r\n", "begins with something else"),
            (b"\r\n\r\n\r\n", "begins with something else"),
            (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n", "none of TCP4, TCP6 and UNKNOWN"),
            (b"PROXY \r\n", "none of TCP4"),
            (b"PROXY TCP4\r\n", "none of that family"),
            (b"PROXY TCP4 ::1 ::1 1 1\r\n", "none of that family"),
            (b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n", "none of that family"),
            (b"PROXY TCP4 1.2.3.4  1.2.3.4 1 1\r\n", "none of that family"),
            (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n", "none of that family"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "a port"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", "a port"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n", "a port"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", "a port"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n", "behind its ports"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \xff\r\n", "no ASCII"),
            (&v2(0x31, 0x11, &[0; 12]), "version"),
            (&v2(0x22, 0x11, &[0; 12]), "version"),
            (&v2(0x21, 0x41, &[0; 12]), "family"),
            (&v2(0x21, 0x13, &[0; 12]), "family"),
            (&v2(0x21, 0x11, &[0; 11]), "no room"),
            (&v2(0x21, 0x21, &[0; 35]), "no room"),
            (&v2(0x21, 0x31, &[0; 215]), "no room"),
        ] {
            let found = read(data).expect_err(&data.escape_ascii().to_string());
            assert!(found.contains(problem), "{}: {found}", data.escape_ascii());
        }
    }

    #[test]
    fn the_length_of_a_header_is_bounded() {
        let line = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
        assert_eq!(read(&line[..106]), Ok(Progress::Incomplete));
        assert!(read(&line[..107]).is_err());
        assert!(read(&[&line[..106], b"\r\n"].concat()).is_err(), "it ends one byte too late");
        assert_eq!(whole(&[&line[..105], b"\r\n"].concat()).0, 107);
        assert_eq!(whole(&v2(0x21, 0x11, &vec![0; MOST - FIXED_V2])).0, MOST);
        // From the prefix, before the rest is there.
        let longer = v2(0x21, 0x11, &vec![0; MOST - FIXED_V2 + 1]);
        assert!(read(&longer[..FIXED_V2]).is_err());
    }

    fn socket() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        prop_oneof![
            any::<(Ipv4Addr, u16, Ipv4Addr, u16)>()
                .prop_map(|(a, b, c, d)| (SocketAddr::from((a, b)), SocketAddr::from((c, d)))),
            any::<(Ipv6Addr, u16, Ipv6Addr, u16)>()
                .prop_map(|(a, b, c, d)| (SocketAddr::from((a, b)), SocketAddr::from((c, d)))),
        ]
    }

    proptest! {
        #[test]
        fn what_another_library_writes_is_read_as_it_was_meant(
            (source, destination) in socket(),
            more in proptest::collection::vec(any::<u8>(), 0..500),
        ) {
            let address = ProxiedAddress { protocol: Protocol::Stream, source, destination };
            let mut header = ProxyHeader::with_address(address);
            let expected = Some(Address::from(source));
            let mut buffer = [0; 2000];
            let length = header.encode_to_slice_v1(&mut buffer).expect("room");
            let read_v1 = read(&buffer[..length]);
            prop_assert_eq!(read_v1, Ok(Progress::Whole { length, peer: expected.clone() }));
            header.append_tlv(Tlv::Authority("example.org".into()));
            header.append_tlv(Tlv::Custom(0xe0, more.into()));
            let length = header.encode_to_slice_v2(&mut buffer).expect("room");
            let read_v2 = read(&buffer[..length]);
            prop_assert_eq!(read_v2, Ok(Progress::Whole { length, peer: expected }));
        }

        #[test]
        fn whatever_comes_is_read_or_refused_and_more_of_it_changes_no_verdict(
            beginning in prop_oneof![
                Just(b"PROXY TCP4 ".to_vec()),
                Just(b"PROXY ".to_vec()),
                Just(SIGNATURE.to_vec()),
                Just([&SIGNATURE[..], &[0x21, 0x11, 0, 12]].concat()),
                Just(Vec::new()),
            ],
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let data = [beginning, rest].concat();
            let verdict = read(&data);
            for cut in 0..data.len() {
                match read(&data[..cut]) {
                    Ok(Progress::Incomplete) => {}
                    decided => prop_assert_eq!(&decided, &verdict),
                }
            }
        }
    }
}
