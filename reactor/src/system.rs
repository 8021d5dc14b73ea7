//! The system calls that no safe library makes as they are needed here: all `unsafe` of this crate
//! is in this file. Each function is safe to call, whatever it is called with.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, RawFd};

use bytes::{BufMut, BytesMut};
use socket2::{SockAddr, SockRef, Socket};

use crate::unix::PeerCredentials;

/// Datagrams that one call receives: it is the call that costs, and 32 share it.
pub(crate) const BATCH: usize = 32;

/// As recv(2), at most `limit` bytes behind what `buffer` holds.
pub(crate) fn receive(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<usize> {
    receive_with(buffer, limit, |room| Ok((socket.recv(room)?, ()))).map(|(count, ())| count)
}

/// As [`receive`], and whether descriptors came with it, which the kernel has thrown away.
pub(crate) fn receive_message(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<(usize, bool)> {
    receive_with(buffer, limit, |room| {
        let mut segment = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        // SAFETY: null pointers and zero lengths are a message header without anything.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &mut segment;
        message.msg_iovlen = 1;
        // SAFETY: the header names one segment, which is `room`: recvmsg(2) writes at most its
        // length there, and reads nothing of it. All of them outlive the call.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, 0) };
        let count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok((count, message.msg_flags & libc::MSG_CTRUNC != 0))
    })
}

/// Lets `call` write to the spare room of `buffer`. There is no safe way to receive there without
/// clearing it first, which at 64 KiB costs more than the call itself.
fn receive_with<T>(
    buffer: &mut BytesMut,
    limit: usize,
    mut call: impl FnMut(&mut [MaybeUninit<u8>]) -> io::Result<(usize, T)>,
) -> io::Result<(usize, T)> {
    buffer.reserve(limit);
    // SAFETY: the callers above only hand the slice to the kernel, which writes to it and reads
    // nothing; `advance_mut` then covers exactly the bytes that it says it wrote.
    unsafe {
        let spare: &mut [MaybeUninit<u8>] = buffer.chunk_mut().as_uninit_slice_mut();
        let room = spare.len().min(limit);
        let (count, more) = again(|| call(&mut spare[..room]))?;
        buffer.advance_mut(count);
        Ok((count, more))
    }
}

/// What came with one datagram of a batch.
pub(crate) struct Arrived {
    /// Its whole length, which may be more than there was room for.
    pub(crate) length: usize,
    /// Who sent it; `None` for a Unix socket without a name.
    pub(crate) from: Option<SockAddr>,
}

/// Receives up to `BATCH` datagrams with one call, each into `size` bytes of `room`, and appends
/// to `arrived` what came with them. What was too long for its room is cut there, and its length
/// says so.
#[cfg(target_os = "linux")]
pub(crate) fn receive_many(
    socket: &SockRef<'_>,
    room: &mut [u8],
    size: usize,
    arrived: &mut Vec<Arrived>,
) -> io::Result<()> {
    use socket2::SockAddrStorage;

    let mut names: [SockAddrStorage; BATCH] = std::array::from_fn(|_| SockAddrStorage::zeroed());
    let mut segments = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
    // SAFETY: null pointers and zero lengths are message headers without anything.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    let mut count = 0;
    for (index, place) in room.chunks_exact_mut(size.max(1)).take(BATCH).enumerate() {
        segments[index] = libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: place.len() };
        let header = &mut messages[index].msg_hdr;
        header.msg_name = (&raw mut names[index]).cast();
        header.msg_namelen = size_of::<SockAddrStorage>() as libc::socklen_t;
        header.msg_iov = &mut segments[index];
        header.msg_iovlen = 1;
        count += 1;
    }
    let received = again(|| {
        // SAFETY: the first `count` headers each name a segment, which is a part of `room` of its
        // own, and an address to be filled in; recvmmsg(2) writes at most their lengths there. All
        // of them outlive the call. With MSG_TRUNC it tells the whole length of what it cut.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                count,
                libc::MSG_TRUNC,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    })?;
    for (message, name) in messages.iter().zip(names).take(received) {
        let length = message.msg_hdr.msg_namelen;
        // SAFETY: the kernel has written an address of that length, which fits (or it is cut, and
        // then it is no longer than the storage).
        let from = (length > 0).then(|| unsafe {
            SockAddr::new(name, length.min(size_of::<SockAddrStorage>() as libc::socklen_t))
        });
        arrived.push(Arrived { length: message.msg_len as usize, from });
    }
    Ok(())
}

/// Where the system has no recvmmsg(2): one call each.
#[cfg(not(target_os = "linux"))]
pub(crate) fn receive_many(
    socket: &SockRef<'_>,
    room: &mut [u8],
    size: usize,
    arrived: &mut Vec<Arrived>,
) -> io::Result<()> {
    let first = arrived.len();
    for place in room.chunks_exact_mut(size.max(1)).take(BATCH) {
        match again(|| {
            rustix::net::recvfrom(socket, &mut *place, rustix::net::RecvFlags::TRUNC)
                .map_err(io::Error::from)
        }) {
            Ok((_, length, from)) => {
                let from = from.and_then(|from| std::net::SocketAddr::try_from(from).ok());
                arrived.push(Arrived { length, from: from.map(SockAddr::from) });
            }
            Err(_) if arrived.len() > first => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes over a descriptor that this process was started with. It must be nobody else's.
pub(crate) fn adopt(descriptor: RawFd) -> io::Result<Socket> {
    // SAFETY: a descriptor that the process was started with belongs to nothing in it, and
    // `inherited` gives out each once. One that is no socket is let go again below.
    let socket = unsafe { Socket::from_raw_fd(descriptor) };
    match socket.local_addr() {
        Ok(_) => Ok(socket),
        Err(failure) => {
            let _ = socket.into_raw_fd(); // it is not ours to close
            Err(failure)
        }
    }
}

/// Who is at the other end of a Unix socket.
#[cfg(target_os = "linux")]
pub(crate) fn peer_credentials(socket: impl AsFd) -> io::Result<PeerCredentials> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: getsockopt(2) writes at most `length` bytes to `found`, which has as many; any bits
    // are good integers. (Not rustix's: there a process of 0, one that is hidden, is no value.)
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    let process = u32::try_from(found.pid).ok().filter(|&process| process > 0);
    Ok(PeerCredentials { process, user: found.uid, group: found.gid })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn peer_credentials(_: impl AsFd) -> io::Result<PeerCredentials> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Takes variables out of the environment, if no other thread is there that could be reading it
/// meanwhile; else they stay.
pub(crate) fn forget_variables(names: &[&str]) {
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !matches!(threads, Ok(1)) {
        return; // or it cannot be told
    }
    for name in names {
        // SAFETY: the environment may be changed while nobody else reads or changes it, and this is
        // the only thread of the process: the kernel has just listed them, and none is started here.
        unsafe { std::env::remove_var(name) };
    }
}

/// Makes a call again as long as a signal interrupts it.
pub(crate) fn again<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// As read(2), at most `limit` bytes behind what `buffer` holds.
pub(crate) fn read(
    descriptor: impl AsFd,
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<usize> {
    let received = receive_with(buffer, limit, |room| {
        let (read, _) = rustix::io::read(descriptor.as_fd(), room)?;
        Ok((read.len(), ()))
    });
    received.map(|(count, ())| count)
}

/// As pread(2), at most `limit` bytes behind what `buffer` holds.
pub(crate) fn read_at(
    file: impl AsFd,
    buffer: &mut BytesMut,
    limit: usize,
    offset: u64,
) -> io::Result<usize> {
    let received = receive_with(buffer, limit, |room| {
        let (read, _) = rustix::io::pread(file.as_fd(), room, offset)?;
        Ok((read.len(), ()))
    });
    received.map(|(count, ())| count)
}

/// What happens in a child between fork(2) and execve(2).
pub(crate) struct BeforeExec {
    /// A session of its own; with `true`, its descriptor 0 is the controlling terminal.
    pub(crate) session: Option<bool>,
    /// Descriptors of this process and the numbers that the child has for them, from 3 on. Each of
    /// the former is above all of the latter, and stays open until the child runs.
    pub(crate) moves: Vec<(RawFd, RawFd)>,
    /// No descriptor of this process is above it; only where [`can_close_ranges`] says no.
    pub(crate) highest: Option<RawFd>,
}

/// Lets the child of `command` begin as [`Program`](crate::Program) promises: it has the descriptors that
/// are given to it and no others, blocks no signal, and is ended by SIGPIPE.
pub(crate) fn before_exec(command: &mut std::process::Command, plan: BeforeExec) {
    use std::os::unix::process::CommandExt;

    let prepare = move || -> io::Result<()> {
        if let Some(with_terminal) = plan.session {
            rustix::process::setsid()?;
            if with_terminal {
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            }
        }
        close_on_exec_from(3, plan.highest);
        for &(from, to) in &plan.moves {
            // SAFETY: dup2(2) touches no memory, and closes nothing that is in use: this is a
            // child, in which nothing runs but this.
            if unsafe { libc::dup2(from, to) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: sigemptyset(3) fills in the set, of which sigprocmask(2) reads; SIG_DFL is a
        // disposition that signal(2) takes.
        unsafe {
            let mut none = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(none.as_mut_ptr());
            if libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) < 0
                || libc::signal(libc::SIGPIPE, libc::SIG_DFL) == libc::SIG_ERR
            {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls, all of which are async-signal-safe; it neither
    // allocates nor takes a lock, which another thread may have held at the fork.
    unsafe { command.pre_exec(prepare) };
}

/// Lets execve(2) close all descriptors from `first` on. They are not closed here, since std tells
/// of a failed execve(2) through one of them.
fn close_on_exec_from(first: RawFd, highest: Option<RawFd>) {
    let Some(highest) = highest else {
        close_range_on_exec(first as u32);
        return;
    };
    for descriptor in first..=highest {
        // SAFETY: fcntl(2) with F_SETFD touches no memory; a number that is no descriptor is an
        // error that says so.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Whether the system closes a whole range of descriptors (Linux does from 5.11 on).
pub(crate) fn can_close_ranges() -> bool {
    close_range_on_exec(u32::MAX)
}

#[cfg(target_os = "linux")]
fn close_range_on_exec(first: u32) -> bool {
    // SAFETY: close_range(2) touches no memory, and with this flag closes nothing yet.
    0 == unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }
}

#[cfg(not(target_os = "linux"))]
fn close_range_on_exec(_: u32) -> bool {
    false
}

/// Another descriptor for where `descriptor` leads, of `least` or more. `EBADF` if it leads nowhere.
pub(crate) fn duplicate(descriptor: RawFd, least: RawFd) -> io::Result<std::os::fd::OwnedFd> {
    // SAFETY: fcntl(2) with F_DUPFD_CLOEXEC touches no memory, and looks itself whether its
    // descriptor is one.
    let copy = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, least) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has just made it, for us.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(copy) })
}

/// As kill(2); a process group has a negative number.
pub(crate) fn kill(process: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill(2) touches no memory.
    match unsafe { libc::kill(process, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
