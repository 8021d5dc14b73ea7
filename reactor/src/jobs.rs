//! The queue between the loop and the threads of the pool: bounded, first in, first out.
//!
//! A thread without a job sleeps at once. Channels spin a little before they sleep, and give
//! their processor away in between: where it is the loop's own, every turn of the loop then pays
//! for the thread that has just become idle.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::threads::Job;

pub(crate) struct Jobs {
    queue: Mutex<Queue>,
    /// A job came, or the queue was closed.
    news: Condvar,
    most: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Threads that wait for news.
    idle: usize,
    closed: bool,
}

impl Jobs {
    /// For so many jobs at most that no thread has taken yet.
    pub(crate) fn new(most: usize) -> Self {
        Self { queue: Mutex::default(), news: Condvar::new(), most }
    }

    /// Jobs run outside the lock, so a panic cannot leave the queue half changed.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job, or gives it back if the queue is full or closed.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut queue = self.lock();
        if queue.closed || queue.jobs.len() >= self.most {
            return Err(job);
        }
        queue.jobs.push_back(job);
        let wake = queue.idle > 0;
        drop(queue); // first: whoever wakes up wants it
        if wake {
            self.news.notify_one();
        }
        Ok(())
    }

    /// The next job, as soon as there is one; `None` once the queue is closed.
    pub(crate) fn wait(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    /// Takes no more, ends the threads that wait, and gives back what none of them has taken.
    pub(crate) fn close(&self) -> VecDeque<Job> {
        let mut queue = self.lock();
        queue.closed = true;
        let left = std::mem::take(&mut queue.jobs);
        drop(queue);
        self.news.notify_all();
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Box::new(|_| ())
    }

    #[test]
    fn a_full_or_closed_queue_gives_the_job_back() {
        let jobs = Jobs::new(2);
        assert!(jobs.push(job()).is_ok());
        assert!(jobs.push(job()).is_ok());
        assert!(jobs.push(job()).is_err(), "it is full");
        assert!(jobs.wait().is_some());
        assert!(jobs.push(job()).is_ok());
        assert_eq!(jobs.close().len(), 2);
        assert!(jobs.push(job()).is_err(), "it is closed");
        assert!(jobs.wait().is_none());
    }

    #[test]
    fn a_thread_that_sleeps_is_woken_for_a_job_and_for_the_end() {
        let jobs = Jobs::new(1);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| {
                let mut taken = 0;
                while jobs.wait().is_some() {
                    taken += 1;
                }
                taken
            });
            for _ in 0..100 {
                while jobs.push(job()).is_err() {
                    std::thread::yield_now();
                }
            }
            while !jobs.lock().jobs.is_empty() {
                std::thread::yield_now();
            }
            jobs.close();
            assert_eq!(taken.join().ok(), Some(100));
        });
    }
}
