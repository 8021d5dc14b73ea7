//! Many datagrams with one system call: `recvmmsg` and `sendmmsg`, made safe.

use std::io;
use std::os::fd::RawFd;
use std::ptr;

/// The longest datagram that a place has room for.
pub(crate) const LONGEST: usize = 256;

/// Places for datagrams, and for whom they are from: what was received can be sent back as it is.
pub(crate) struct Batch {
    /// Point into the two below, which are never moved nor made longer.
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    buffers: Box<[[u8; LONGEST]]>,
    /// Empty for a connected socket.
    names: Box<[libc::sockaddr_in]>,
}

impl Batch {
    /// So many places. With `named`, senders are noted by `receive`, and are those whom `send`
    /// sends to; else the socket has to be connected.
    pub(crate) fn new(places: usize, named: bool) -> Self {
        // SAFETY: plain records of numbers and pointers, for which all zeros is a value.
        let (header, name, vector) = unsafe { std::mem::zeroed() };
        let mut batch = Batch {
            headers: vec![header; places].into(),
            vectors: vec![vector; places].into(),
            buffers: vec![[0; LONGEST]; places].into(),
            names: vec![name; if named { places } else { 0 }].into(),
        };
        for place in 0..places {
            batch.vectors[place].iov_base = batch.buffers[place].as_mut_ptr().cast();
            let header = &mut batch.headers[place].msg_hdr;
            header.msg_iov = &raw mut batch.vectors[place];
            header.msg_iovlen = 1;
            header.msg_name =
                batch.names.get_mut(place).map_or(ptr::null_mut(), |name| (&raw mut *name).cast());
        }
        batch
    }

    pub(crate) fn places(&self) -> usize {
        self.headers.len()
    }

    /// Receives what is there without waiting, and says how many datagrams that were.
    pub(crate) fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        let name_length = size_of::<libc::sockaddr_in>() as u32;
        for place in 0..self.headers.len() {
            self.vectors[place].iov_len = LONGEST;
            let named = !self.names.is_empty();
            self.headers[place].msg_hdr.msg_namelen = if named { name_length } else { 0 };
        }
        let (headers, places) = (self.headers.as_mut_ptr(), self.headers.len() as u32);
        // SAFETY: each header points to a buffer and a name of the lengths that it tells, and all
        // of them live as long as `self`.
        let count = unsafe {
            libc::recvmmsg(fd, headers, places, libc::MSG_DONTWAIT as _, ptr::null_mut())
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for place in 0..count {
            self.vectors[place].iov_len = self.headers[place].msg_len as usize;
        }
        Ok(count)
    }

    /// Sends `count` datagrams from the place `from` on, and says how many the kernel took.
    pub(crate) fn send(&mut self, fd: RawFd, from: usize, count: usize) -> io::Result<usize> {
        let headers = self.headers[from..from + count].as_mut_ptr();
        // SAFETY: as above; the kernel reads `count` headers, which the slice has.
        let sent = unsafe { libc::sendmmsg(fd, headers, count as u32, libc::MSG_DONTWAIT as _) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// What lies in a place.
    pub(crate) fn datagram(&self, place: usize) -> &[u8] {
        &self.buffers[place][..self.vectors[place].iov_len]
    }

    /// Puts a datagram there.
    pub(crate) fn put(&mut self, place: usize, datagram: &[u8]) {
        self.buffers[place][..datagram.len()].copy_from_slice(datagram);
        self.vectors[place].iov_len = datagram.len();
    }
}
