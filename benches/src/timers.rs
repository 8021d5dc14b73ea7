//! A million timers: set, cancelled, fired and moved, by Ropewalk's queue and by others.
//!
//! Each contender runs in a process of its own, so that none inherits another's heap, and in
//! turn. All call a boxed closure when a timer fires.

mod contenders;
mod tokio_timers;

use std::io;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::child::resident_of;
use crate::figures::{Good, best, median};
use crate::report::{Table, progress, progress_done};
use crate::settings::Settings;
use crate::sys;

/// What a timer carries.
pub(super) type Payload = Box<dyn FnOnce() -> u64>;

/// Deadlines lie at random within a minute.
const SPAN: u64 = 60_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// How often each of the outstanding timers is moved.
const MOVES: u64 = 10;

/// A queue of timers, as the script below uses it. Times are in nanoseconds.
pub(super) trait Queue {
    type Id: Clone;
    fn new() -> Self;
    fn insert(&mut self, deadline: u64, payload: Payload) -> Self::Id;
    fn cancel(&mut self, id: Self::Id) -> bool;
    fn reset(&mut self, id: &mut Self::Id, deadline: u64);
    /// Lets the queue's clock reach `now`, where it has a clock.
    async fn advance(&mut self, _now: u64) {}
    /// Fires all that is due at `now`, in one turn; says how many and what their closures said.
    fn fire(&mut self, now: u64) -> (u64, u64);
    /// What a loop asks before it sleeps.
    fn next_deadline(&mut self) -> Option<u64>;
}

/// Nanoseconds of processor time an operation, and bytes.
#[derive(Serialize, Deserialize, Clone, Copy, Default)]
struct Run {
    set_in_fresh_memory: f64,
    set: f64,
    cancel: f64,
    fire_at_once: f64,
    fire_by_millisecond: f64,
    reset_later: f64,
    fire_after_resets: f64,
    reset_sooner: f64,
    /// While all live, a timer; `None` where the C library does not count.
    allocated_each: Option<f64>,
    /// In total, when all but the last one set are cancelled.
    allocated_with_one: Option<f64>,
    /// By how much the process is larger than before, when all are and the C library has
    /// returned what it could.
    resident_with_none: f64,
}

#[derive(Serialize)]
pub(crate) struct Timers {
    timers: usize,
    queues: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    runs: Vec<Run>,
}

const NAMES: [&str; 5] = ["ropewalk", "tokio DelayQueue", "tokio Sleep", "BinaryHeap", "BTreeMap"];

/// Runs each queue in turn, as often as there are rounds.
pub(crate) fn measure(settings: &Settings) -> io::Result<Timers> {
    let taking_part = NAMES.iter().enumerate().filter(|(i, name)| settings.wants(*i, name));
    let mut queues: Vec<Record> =
        taking_part.map(|(_, name)| Record { name, runs: Vec::new() }).collect();
    for round in 1..=settings.rounds {
        for Record { name, runs } in &mut queues {
            progress(&format!("timers: round {round} of {}, {name}", settings.rounds));
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["timers-of", name, &settings.timers.to_string()]);
            sys::pin_child(&mut command, settings.server_core);
            let output = command.stderr(std::process::Stdio::inherit()).output()?;
            if !output.status.success() {
                return Err(io::Error::other(format!("{name}: {}", output.status)));
            }
            runs.push(serde_json::from_slice(&output.stdout)?);
        }
    }
    progress_done();
    Ok(Timers { timers: settings.timers, queues })
}

/// The child's part: `NAME COUNT`, and a run as JSON on standard output.
pub(crate) fn in_this_process(arguments: &[String]) -> io::Result<()> {
    let [name, count] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
    let count = count.parse().map_err(io::Error::other)?;
    // All run inside tokio's runtime, which two of them need: for the others it does nothing.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let run = runtime.block_on(tokio::task::unconstrained(async {
        Ok(match name.as_str() {
            "ropewalk" => script::<contenders::Ropewalk>(count).await?,
            "tokio DelayQueue" => script::<tokio_timers::Delays>(count).await?,
            "tokio Sleep" => script::<tokio_timers::Sleeps>(count).await?,
            "BinaryHeap" => script::<contenders::Heap>(count).await?,
            "BTreeMap" => script::<contenders::Tree>(count).await?,
            _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
        })
    }))?;
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

async fn script<Q: Queue>(count: usize) -> io::Result<Run> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let deadlines: Vec<u64> = (0..count).map(|_| random.below(SPAN)).collect();
    let order = random.shuffled(count);
    let mut run = Run::default();
    // First, while the process has no memory of its own.
    set_and_cancel::<Q>(&mut run, &deadlines, &order);
    set_and_fire::<Q>(&mut run, &deadlines).await;
    move_about::<Q>(&mut run, &random.shuffled(count / 10)).await;
    weigh::<Q>(&mut run, &deadlines, &order)?;
    Ok(run)
}

fn set_and_cancel<Q: Queue>(run: &mut Run, deadlines: &[u64], order: &[usize]) {
    let (count, mut queue, mut ids) = (deadlines.len(), Q::new(), no_ids::<Q>(deadlines.len()));
    let began = sys::own_cpu_time();
    fill(&mut queue, deadlines, &mut ids);
    run.set_in_fresh_memory = each(began, count);

    let began = sys::own_cpu_time();
    for &i in order {
        if let Some(id) = ids[i].take() {
            assert!(queue.cancel(id));
        }
    }
    run.cancel = each(began, count);
}

async fn set_and_fire<Q: Queue>(run: &mut Run, deadlines: &[u64]) {
    let (count, mut queue, mut ids) = (deadlines.len(), Q::new(), no_ids::<Q>(deadlines.len()));
    let began = sys::own_cpu_time();
    fill(&mut queue, deadlines, &mut ids);
    run.set = each(began, count);

    let began = sys::own_cpu_time();
    queue.advance(SPAN + MILLISECOND).await;
    check(queue.fire(SPAN + MILLISECOND), count);
    run.fire_at_once = each(began, count);
    drop(queue);

    let mut queue = Q::new();
    fill(&mut queue, deadlines, &mut ids);
    let (mut fired, mut sum, mut now) = (0, 0u64, 0);
    let began = sys::own_cpu_time();
    while fired < count as u64 && now <= 2 * SPAN {
        now += MILLISECOND;
        std::hint::black_box(queue.next_deadline());
        queue.advance(now).await;
        let (more, said) = queue.fire(now);
        fired += more;
        sum = sum.wrapping_add(said);
    }
    run.fire_by_millisecond = each(began, count);
    check((fired, sum), count);
}

async fn move_about<Q: Queue>(run: &mut Run, order: &[usize]) {
    let count = order.len();
    let mut queue = Q::new();
    let mut ids: Vec<_> = (0..count).map(|i| queue.insert(SPAN, payload(i))).collect();
    let began = sys::own_cpu_time();
    for round in 1..=MOVES {
        for &i in order {
            queue.reset(&mut ids[i], SPAN + round * 5 * MILLISECOND + i as u64);
        }
    }
    run.reset_later = each(began, count * MOVES as usize);
    let began = sys::own_cpu_time();
    queue.advance(2 * SPAN).await;
    check(queue.fire(2 * SPAN), count);
    run.fire_after_resets = each(began, count);
    drop(queue);

    let mut queue = Q::new();
    let mut ids: Vec<_> = (0..count).map(|i| queue.insert(SPAN, payload(i))).collect();
    let began = sys::own_cpu_time();
    for round in 1..=MOVES {
        for &i in order {
            queue.reset(&mut ids[i], SPAN - round * 5 * MILLISECOND + i as u64);
        }
    }
    run.reset_sooner = each(began, count * MOVES as usize);
    queue.advance(2 * SPAN).await;
    check(queue.fire(2 * SPAN), count);
}

/// What the queue keeps when all is cancelled, but for the timer set last, and then that too.
fn weigh<Q: Queue>(run: &mut Run, deadlines: &[u64], order: &[usize]) -> io::Result<()> {
    let (count, mut queue, mut ids) = (deadlines.len(), Q::new(), no_ids::<Q>(deadlines.len()));
    sys::return_free_memory();
    let resident_before = resident_of("self")? as f64;
    let allocated_before = sys::allocated_bytes();
    let grown = || Some(sys::allocated_bytes()? as f64 - allocated_before? as f64);
    fill(&mut queue, deadlines, &mut ids);
    run.allocated_each = grown().map(|bytes| bytes / count as f64);

    for &i in order.iter().filter(|&&i| i != count - 1) {
        if let Some(id) = ids[i].take() {
            assert!(queue.cancel(id));
        }
    }
    run.allocated_with_one = grown();
    if let Some(id) = ids[count - 1].take() {
        assert!(queue.cancel(id));
    }
    sys::return_free_memory();
    run.resident_with_none = resident_of("self")? as f64 - resident_before;
    Ok(())
}

/// Places for ids, written to, so that their memory is there before anything is timed.
fn no_ids<Q: Queue>(count: usize) -> Vec<Option<Q::Id>> {
    let mut ids = vec![None; count];
    std::hint::black_box(&mut ids).fill(None);
    ids
}

fn fill<Q: Queue>(queue: &mut Q, deadlines: &[u64], ids: &mut [Option<Q::Id>]) {
    for (i, (id, &deadline)) in ids.iter_mut().zip(deadlines).enumerate() {
        *id = Some(queue.insert(deadline, payload(i)));
    }
}

fn payload(i: usize) -> Payload {
    Box::new(move || i as u64)
}

/// Nanoseconds of processor time an operation.
fn each(began: Duration, count: usize) -> f64 {
    (sys::own_cpu_time() - began).as_nanos() as f64 / count as f64
}

/// Each of the closures must have run once.
fn check((fired, sum): (u64, u64), count: usize) {
    let count = count as u64;
    assert_eq!((fired, sum), (count, count * (count - 1) / 2));
}

/// xorshift64*: the same numbers in every run, for every queue.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }

    fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i, self.below(i as u64 + 1) as usize);
        }
        order
    }
}

/// A row of the table: its title, its figure, and what to divide by to show it.
type Row = (&'static str, fn(&Run) -> Option<f64>, f64);

impl Timers {
    pub(crate) fn print(&self) {
        const KIB: f64 = 1024.0;
        let rows: [Row; 11] = [
            ("set, in fresh memory, ns", |run| Some(run.set_in_fresh_memory), 1.0),
            ("set, ns", |run| Some(run.set), 1.0),
            ("cancel in random order, ns", |run| Some(run.cancel), 1.0),
            ("fire, all in one turn, ns", |run| Some(run.fire_at_once), 1.0),
            ("fire, a turn a millisecond, ns", |run| Some(run.fire_by_millisecond), 1.0),
            ("reset to later (a tenth), ns", |run| Some(run.reset_later), 1.0),
            ("fire after ten resets, ns", |run| Some(run.fire_after_resets), 1.0),
            ("reset to sooner (a tenth), ns", |run| Some(run.reset_sooner), 1.0),
            ("memory a timer, bytes", |run| run.allocated_each, 1.0),
            ("allocated when one is left, KiB", |run| run.allocated_with_one, KIB),
            ("resident when none is left, KiB", |run| Some(run.resident_with_none), KIB),
        ];
        println!("{} timers, within a minute: best (median)\n", self.timers);
        let head = self.queues.iter().map(|record| record.name);
        let mut table = Table::new(std::iter::once("").chain(head));
        for (title, figure, unit) in rows {
            let cells = self.queues.iter().map(|record| {
                let values: Option<Vec<f64>> = record.runs.iter().map(figure).collect();
                match values {
                    Some(values) => {
                        let (best, median) = (best(&values, Good::Small), median(&values));
                        format!("{:.0} ({:.0})", best / unit, median / unit)
                    }
                    None => "–".to_owned(),
                }
            });
            table.row(std::iter::once(title.to_owned()).chain(cells));
        }
        table.print();
    }
}
