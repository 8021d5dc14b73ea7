//! Counts a server's system calls with ptrace, so that no tool needs to be installed.
//!
//! A traced server is many times slower, and so more is ready at each wait: the counts are
//! those of a saturated server. Times measured meanwhile mean nothing and are thrown away.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::child::Server;

/// Above every number of the architectures that we know.
const NUMBERS: usize = 512;

/// A server under trace, until it dies with this.
pub(crate) struct Tracer {
    server: Option<Server>,
    counts: Arc<[AtomicU64]>,
    thread: Option<JoinHandle<()>>,
}

impl Tracer {
    /// Attaches to every thread of the server.
    pub(crate) fn attach(server: Server) -> io::Result<Self> {
        let counts: Arc<[AtomicU64]> = (0..NUMBERS).map(|_| AtomicU64::new(0)).collect();
        let (attached, is_attached) = mpsc::channel();
        // The thread that attaches must be the one that waits: a rule of ptrace.
        let thread = std::thread::spawn({
            let (counts, pid) = (Arc::clone(&counts), server.pid());
            move || {
                let threads = seize_all(pid);
                let _ = attached.send(threads.as_ref().map(|_| ()).map_err(|e| e.kind()));
                follow(threads.unwrap_or(0), &counts);
            }
        });
        let answer = is_attached.recv().unwrap_or(Err(io::ErrorKind::BrokenPipe));
        let tracer = Tracer { server: Some(server), counts, thread: Some(thread) };
        answer.map(|()| tracer).map_err(io::Error::from)
    }

    /// How often each call was made up to now, by its number.
    pub(crate) fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // In this order: the thread ends when nothing is left to trace.
        self.server = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How often each call was made for a request, by name.
pub(crate) fn per_request(before: &[u64], after: &[u64], requests: u64) -> BTreeMap<String, f64> {
    let calls = before.iter().zip(after).enumerate().filter(|(_, (before, after))| before < after);
    calls
        .map(|(number, (before, after))| {
            (name_of(number as i64), (after - before) as f64 / requests.max(1) as f64)
        })
        .collect()
}

fn seize_all(pid: u32) -> io::Result<usize> {
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE;
    let mut threads = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let Some(thread) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        ptrace(libc::PTRACE_SEIZE, thread, options as usize)?;
        ptrace(libc::PTRACE_INTERRUPT, thread, 0)?;
        threads += 1;
    }
    Ok(threads)
}

/// Lets every thread run from one system call to the next, until all have ended.
fn follow(mut threads: usize, counts: &[AtomicU64]) {
    while threads > 0 {
        let mut status = 0;
        // SAFETY: the kernel writes one status. `__WNOTHREAD` leaves other threads' children be.
        let thread = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
        if thread < 0 {
            return;
        }
        if !libc::WIFSTOPPED(status) {
            threads -= 1;
            continue;
        }
        let signal = match (libc::WSTOPSIG(status), status >> 16) {
            (signal, 0) if signal == libc::SIGTRAP | 0x80 => {
                if let Some(count) = entered(thread).and_then(|number| counts.get(number)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                0
            }
            (_, libc::PTRACE_EVENT_CLONE) => {
                threads += 1;
                0
            }
            (signal, 0) => signal,
            _ => 0,
        };
        let _ = ptrace(libc::PTRACE_SYSCALL, thread, signal as usize);
    }
}

/// The number of the call that the stopped thread is about to make; `None` on its way out.
fn entered(thread: libc::pid_t) -> Option<usize> {
    // SAFETY: a plain record, for which all zeros is a value.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let (request, size) = (libc::PTRACE_GET_SYSCALL_INFO, size_of_val(&info));
    // SAFETY: the kernel writes at most `size` bytes into `info`.
    let got = unsafe { libc::ptrace(request, thread, size, &raw mut info) };
    if got < 0 || info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says that it is this member.
    Some(unsafe { info.u.entry.nr } as usize)
}

fn ptrace(request: libc::c_uint, thread: libc::pid_t, data: usize) -> io::Result<()> {
    // SAFETY: of the requests used here none lets the kernel write to our memory.
    let result = unsafe { libc::ptrace(request, thread, 0usize, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn name_of(number: i64) -> String {
    let known = [
        (libc::SYS_read, "read"),
        (libc::SYS_write, "write"),
        (libc::SYS_readv, "readv"),
        (libc::SYS_writev, "writev"),
        (libc::SYS_recvfrom, "recv"),
        (libc::SYS_sendto, "send"),
        (libc::SYS_recvmsg, "recvmsg"),
        (libc::SYS_sendmsg, "sendmsg"),
        (libc::SYS_recvmmsg, "recvmmsg"),
        (libc::SYS_sendmmsg, "sendmmsg"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_epoll_wait, "epoll_wait"),
        (libc::SYS_epoll_pwait, "epoll_pwait"),
        (libc::SYS_epoll_ctl, "epoll_ctl"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_clock_gettime, "clock_gettime"),
        (libc::SYS_sched_yield, "sched_yield"),
        (libc::SYS_mmap, "mmap"),
        (libc::SYS_munmap, "munmap"),
        (libc::SYS_madvise, "madvise"),
        (libc::SYS_brk, "brk"),
    ];
    match known.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("call {number}"),
    }
}
