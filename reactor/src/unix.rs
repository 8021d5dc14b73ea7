//! What a Unix stream socket has beyond a TCP one: a path that outlives its process, file
//! descriptors that travel with bytes, and a peer that the kernel vouches for.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use mio::net::UnixStream;
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::Transport;
use crate::address::UnixAddress;
use crate::output::{WAITING_DESCRIPTORS, Written};
use crate::policy::Direction;

/// `SCM_MAX_FD` of Linux: the most descriptors that one message carries.
pub(crate) const MOST_IN_A_MESSAGE: usize = 253;

/// One end of a Unix stream.
#[derive(Debug)]
pub(crate) struct UnixEnd {
    pub(crate) socket: UnixStream,
    /// The most descriptors to take with one message; with 0 the kernel closes all that come.
    pub(crate) takes: usize,
    /// Descriptors that came with what was received last.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// More came with it than could be taken.
    pub(crate) overran: bool,
    /// The last receive ended behind a message with descriptors, not where the input does: though
    /// it was short, there may be more, of which no edge will tell.
    pub(crate) was_cut: bool,
}

impl UnixEnd {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self { socket, takes: 0, descriptors: Vec::new(), overran: false, was_cut: false }
    }

    /// As recv(2) behind what `buffer` holds; descriptors that came with it wait in `descriptors`.
    pub(crate) fn recv_with_descriptors(
        &mut self,
        buffer: &mut BytesMut,
        limit: usize,
    ) -> io::Result<usize> {
        let before = buffer.len();
        buffer.resize(before + limit, 0); // cleared: rustix takes no room that is not
        let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(self.takes))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let segment = &mut [IoSliceMut::new(&mut buffer[before..])];
        let received = loop {
            match rustix::net::recvmsg(&self.socket, segment, &mut control, RecvFlags::CMSG_CLOEXEC)
            {
                Err(rustix::io::Errno::INTR) => {}
                received => break received,
            }
        };
        let count = received.as_ref().map_or(0, |message| message.bytes);
        buffer.truncate(before + count);
        let flags = received?.flags;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        let lost = flags.contains(ReturnFlags::CTRUNC);
        self.was_cut = lost || !self.descriptors.is_empty();
        self.overran = lost || self.descriptors.len() > self.takes;
        Ok(count)
    }

    /// As sendmsg(2): the descriptors go with the first byte.
    pub(crate) fn send_with_descriptors(
        &mut self,
        segments: &[IoSlice<'_>],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(descriptors.len()))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into()); // never: the space was made for them
        }
        loop {
            match rustix::net::sendmsg(&self.socket, segments, &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                sent => return Ok(sent?),
            }
        }
    }
}

/// Who a Unix socket's peer is, as the kernel says: the process that connected, or that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The process; `None` when it is in another PID namespace, which hides it.
    pub process: Option<u32>,
    /// Its effective user at that time.
    pub user: u32,
    /// Its effective group at that time.
    pub group: u32,
}

impl Transport<'_> {
    /// As [`write`](Self::write) on a Unix socket, with file descriptors that the peer receives
    /// together with the first byte of `data`. They are closed here once they are sent.
    ///
    /// # Errors
    /// `Unsupported` when this is no Unix socket, or has TLS on it, `InvalidInput` when `data` is
    /// empty, since a descriptor has to travel with a byte, and `QuotaExceeded` when more than 64
    /// descriptors would wait for the peer to take them. Nothing was written then.
    #[doc(alias = "sendFileDescriptor")]
    pub fn write_with_descriptors(
        &mut self,
        data: &[u8],
        descriptors: impl IntoIterator<Item = OwnedFd>,
    ) -> io::Result<Written> {
        let descriptors: Vec<_> = descriptors.into_iter().collect();
        let Some(connection) = self.core.connections.get_mut(self.id) else {
            return Ok(Written::Gone);
        };
        let waiting = connection.output.as_ref().map_or(0, |output| output.descriptors());
        // Behind a filter nobody can say with which byte they would arrive.
        if connection.stream.unix_end().is_none() || connection.filter.is_some() {
            return Err(io::ErrorKind::Unsupported.into());
        } else if data.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        } else if waiting + descriptors.len() > WAITING_DESCRIPTORS {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let written = connection.write_with_descriptors(data, descriptors, &mut self.core.outputs);
        self.core.mark_dirty(self.id);
        if written != Written::Gone {
            self.core.log_traffic(self.id, Direction::Out, data);
        }
        Ok(written)
    }

    /// From now on takes file descriptors that the peer of a Unix socket sends, and gives them to
    /// [`descriptor_received`](crate::Protocol::descriptor_received): at most `most` with one message
    /// (253 is Linux's own limit). A connection to which more come, or to which descriptors come
    /// when this process can have no more, is closed with an error. With 0, as it is to begin
    /// with, the kernel closes all that come.
    ///
    /// None of them waits in the reactor, so a paused connection holds none. Once the connection
    /// speaks TLS, all that come are closed: nobody could say with which byte they came.
    ///
    /// # Errors
    /// `Unsupported` when this is no Unix socket, or one that speaks TLS.
    pub fn receive_descriptors(&mut self, most: usize) -> io::Result<()> {
        let connection = self.core.connections.get_mut(self.id);
        let connection = connection.filter(|connection| connection.filter.is_none());
        let end = connection.and_then(|connection| connection.stream.unix_end());
        end.ok_or(io::ErrorKind::Unsupported)?.takes = most.min(MOST_IN_A_MESSAGE);
        Ok(())
    }

    /// The process, user and group at the other end of a Unix socket, as the kernel knows them
    /// (`SO_PEERCRED`): those of the moment in which it connected, or began to listen.
    ///
    /// # Errors
    /// `Unsupported` when this is no Unix socket, and on other systems than Linux.
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        match self.core.connections.get(self.id) {
            Some(connection) => connection.stream.peer_credentials(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// A path at which this process made a socket. Dropping it removes the path, if it is still the
/// same file.
#[derive(Debug)]
pub(crate) struct BoundPath {
    path: PathBuf,
    file: FileId,
}

/// Which file it is, whatever its name: device and inode.
type FileId = (u64, u64);

impl Drop for BoundPath {
    fn drop(&mut self) {
        if file_at(&self.path).is_ok_and(|file| file == self.file) {
            // One that cannot be removed is stale from now on, which is no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_at(path: &Path) -> io::Result<FileId> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// A socket bound to `address`, not yet listening, and its path if it has one.
///
/// A path at which nobody listens any more is replaced. Between `bind` and `listen` nobody can
/// connect, so no one comes in before the mode is set. (Another process that starts in that very
/// moment takes our socket for a stale one; it has microseconds for that.)
pub(crate) fn bound(
    address: &UnixAddress,
    kind: Type,
    mode: Option<u32>,
) -> io::Result<(Socket, Option<BoundPath>)> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    let name = socket_address(address)?;
    let Some(path) = address.path() else {
        socket.bind(&name)?;
        return Ok((socket, None));
    };
    match socket.bind(&name) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, &name, kind)?;
            socket.bind(&name)?;
        }
        bound => bound?,
    }
    // Absolute, since the working directory may be another when it is to be removed.
    let path = std::path::absolute(path)?;
    let path = BoundPath { file: file_at(&path)?, path };
    if let Some(mode) = mode {
        fs::set_permissions(&path.path, Permissions::from_mode(mode))?;
    }
    Ok((socket, Some(path)))
}

/// Removes a socket that its process has left behind: connecting to it is refused. Anything else
/// stays, and is an error.
fn remove_stale(path: &Path, name: &SockAddr, kind: Type) -> io::Result<()> {
    let in_use = |problem| Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
    let found = fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() {
        return in_use("there is a file at that path, and it is no socket");
    }
    let probe = Socket::new(Domain::UNIX, kind, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(name) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()), // gone by itself
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return in_use("a socket of somebody else's is there already");
        }
        _ => return in_use("another process listens there already"),
    }
    // The one that refused, not one that took its place meanwhile.
    if file_at(path)? != (found.dev(), found.ino()) {
        return in_use("another process begins to listen there");
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Begins to connect. A Unix socket's connection is made at once, or refused, or there is no room
/// for it in the listener's queue (`WouldBlock`).
pub(crate) fn connect(address: &UnixAddress) -> io::Result<UnixEnd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket_address(address)?)?;
    Ok(UnixEnd::new(UnixStream::from_std(socket.into())))
}

/// The kernel's form of an address that has a name.
pub(crate) fn socket_address(address: &UnixAddress) -> io::Result<SockAddr> {
    match (address.path(), address.abstract_name()) {
        (Some(path), _) => SockAddr::unix(path),
        (None, Some(name)) => SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat())),
        (None, None) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// What the kernel's form of an address says.
pub(crate) fn unix_address(address: &SockAddr) -> UnixAddress {
    let path = address.as_pathname().and_then(UnixAddress::new);
    let name = || address.as_abstract_namespace().and_then(UnixAddress::from_abstract_name);
    path.or_else(name).unwrap_or(UnixAddress::unnamed())
}
