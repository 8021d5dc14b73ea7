//! The few system calls that std does not wrap, made safe: all of the crate's `unsafe`, but
//! for the tracer's and that of datagrams in batches.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An epoll instance, and nothing around it.
pub(crate) struct Epoll(OwnedFd);

/// What happened to the descriptor that was added under `token`.
pub(crate) type Event = libc::epoll_event;

pub(crate) const NO_EVENT: Event = Event { events: 0, u64: 0 };

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; the descriptor that it returns is ours alone.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: just opened, and owned by nobody else.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn add(&self, source: &impl AsRawFd, events: i32, token: u64) -> io::Result<()> {
        let mut event = Event { events: events as u32, u64: token };
        let (epoll, fd) = (self.0.as_raw_fd(), source.as_raw_fd());
        // SAFETY: `event` outlives the call, and the kernel only reads it.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) })?;
        Ok(())
    }

    /// Waits for events, without end if `timeout_ms` is negative.
    pub(crate) fn wait<'e>(
        &self,
        events: &'e mut [Event],
        timeout_ms: i32,
    ) -> io::Result<&'e [Event]> {
        let (fd, room) = (self.0.as_raw_fd(), events.len() as i32);
        // SAFETY: the kernel writes at most `room` events into the slice.
        match check(unsafe { libc::epoll_wait(fd, events.as_mut_ptr(), room, timeout_ms) }) {
            Ok(count) => Ok(&events[..count as usize]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(&[]),
            Err(e) => Err(e),
        }
    }
}

/// `recv`, without more: the bare loops' only way to read.
pub(crate) fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most the slice's length into the slice.
    let count = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

/// `send` without SIGPIPE.
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads at most the slice's length from the slice.
    let count = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

/// Receives at most `limit` bytes of a TCP stream, and throws them away in the kernel.
pub(crate) fn discard(fd: RawFd, limit: usize) -> io::Result<usize> {
    // SAFETY: with MSG_TRUNC, TCP writes nothing to the buffer (tcp(7)), and none is given.
    let count = unsafe { libc::recv(fd, std::ptr::null_mut(), limit, libc::MSG_TRUNC) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

/// `sendfile`, from `at` on.
pub(crate) fn sendfile(
    fd: RawFd,
    file: &std::fs::File,
    at: u64,
    limit: usize,
) -> io::Result<usize> {
    let mut at = at as libc::off_t;
    // SAFETY: the kernel reads and writes one offset, which outlives the call.
    let count = unsafe { libc::sendfile(fd, file.as_raw_fd(), &mut at, limit) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

/// The cores that this process may run on.
pub(crate) fn allowed_cores() -> Vec<usize> {
    // SAFETY: `cpu_set_t` is a plain bit set, for which all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the size given into `set`.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } < 0 {
        return Vec::new();
    }
    // SAFETY: the macro only reads the bit set, within its size.
    (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
}

/// Keeps the calling thread, and what it spawns, on one core.
pub(crate) fn pin_to(core: usize) -> io::Result<()> {
    // SAFETY: as above.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the macro writes within the set; cores beyond it are ignored.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the kernel reads `set`, of the size given.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) })?;
    Ok(())
}

/// Makes the child run on `core`, and die when its parent's thread does.
pub(crate) fn pin_child(command: &mut Command, core: Option<usize>) {
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if let Some(core) = core {
                pin_to(core)?;
            }
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            Ok(())
        });
    }
}

/// Writes what of a file is only in the system's cache, and drops it from there.
pub(crate) fn forget_file(file: &std::fs::File) -> io::Result<()> {
    file.sync_all()?;
    // SAFETY: takes plain numbers; the file outlives the call.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Sends a signal to a child of ours.
pub(crate) fn signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: takes plain numbers; the child is not yet reaped, so the id is its own.
    check(unsafe { libc::kill(pid as libc::pid_t, signal) })?;
    Ok(())
}

/// The processor time that a process, all its threads together, has had since it began.
pub(crate) fn cpu_time_of(pid: u32) -> io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the kernel writes one clock id.
    let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The processor time that the calling thread has had: a clock that stands still while other
/// work has the core.
pub(crate) fn own_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec; with this clock it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The processor time that the process, all its threads together, has had: outside the kernel,
/// and in all.
pub(crate) fn processor_times() -> (Duration, Duration) {
    // SAFETY: all zeros is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one rusage; asked about the process itself it cannot fail.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    let user = time(usage.ru_utime);
    (user, user + time(usage.ru_stime))
}

/// Raises the limit on open descriptors as far as it goes, and says how far that was.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one rlimit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

/// Bytes that the program has allocated and not freed, as the C library counts them.
#[cfg(target_env = "gnu")]
pub(crate) fn allocated_bytes() -> Option<u64> {
    // SAFETY: takes nothing and returns plain numbers.
    let info = unsafe { libc::mallinfo2() };
    Some((info.uordblks + info.hblkhd) as u64)
}

/// Makes the C library return to the system what it holds free, which it else does by its
/// own rules.
#[cfg(target_env = "gnu")]
pub(crate) fn return_free_memory() {
    // SAFETY: takes a number, and moves nothing that is allocated.
    unsafe { libc::malloc_trim(0) };
}

/// Nothing to do with other C libraries.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn return_free_memory() {}

/// Only glibc counts.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn allocated_bytes() -> Option<u64> {
    None
}
