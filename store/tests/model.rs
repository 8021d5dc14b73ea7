//! Random stories on a disk that loses what it may lose, held against a model in maps.
//!
//! A log may come back as it was after any of its batches, but not before the last that was
//! synced: then everything that was synced is there, nothing is there that was not stored, and
//! what was acknowledged and synced stays acknowledged.

mod common;

use std::sync::Arc;

use common::{Model, Writer, load_all, seen};
use ropewalk_store::simulation::SimulatedDisk;
use ropewalk_store::{Batch, Error, Log, Options};

struct Story {
    disk: SimulatedDisk,
    options: Options,
    log: Log,
    writer: Writer,
    model: Model,
    /// The model after each batch since the last sync, and before the first of them.
    possible: Vec<Model>,
}

fn open(disk: &SimulatedDisk, options: &Options) -> Result<(Log, Model, bool), Error> {
    let (mut log, recovered) = Log::open(Arc::new(disk.clone()), options.clone())?;
    let damaged = recovered.report.is_damaged();
    assert!(!damaged, "a crash damages nothing: {:?}", recovered.report);
    let model = seen(&mut log, &recovered);
    Ok((log, model, recovered.report.closed))
}

impl Story {
    fn begin(seed: u64) -> Story {
        let disk = SimulatedDisk::new(seed);
        let mut writer = Writer::new(seed);
        let octets = [4096, 8192, 20_000][writer.random.below(3) as usize];
        let options = Options::new().segment_octets(octets).salt(seed);
        let (log, model, closed) = open(&disk, &options).expect("an empty disk");
        assert!(closed);
        assert_eq!(model, Model::default());
        Story { disk, options, log, writer, possible: vec![model.clone()], model }
    }

    fn step(&mut self) {
        match self.writer.random.below(100) {
            0..50 => self.append(),
            50..70 => self.sync(),
            70..82 => self.load(),
            82..92 => self.maintain(),
            92 => self.kill(),
            93 => self.crash(),
            94 => self.close(),
            95 => self.fill_the_disk(),
            96 => self.fail_a_sync(),
            97 => self.fail_a_write(),
            _ => self.cut_the_power(),
        }
    }

    /// Appends a batch; says what came of it. Unless it failed or was refused, it counts.
    fn append_one(&mut self, messages: bool) -> Result<(), Error> {
        let (mut batch, mut model) = (Batch::new(), self.model.clone());
        self.writer.fill(&mut batch, &mut model, messages);
        let appended = self.log.append(&batch);
        match &appended {
            Ok(()) => self.model = model.clone(),
            Err(error) if error.is_full() => return appended,
            Err(_) => {}
        }
        self.possible.push(model);
        appended
    }

    fn append(&mut self) {
        for _ in 0..1 + self.writer.random.below(3) {
            self.append_one(true).expect("a disk with room");
        }
    }

    fn sync(&mut self) {
        self.log.sync().expect("a sound disk");
        self.possible = vec![self.model.clone()];
    }

    fn load(&mut self) {
        let (many, octets) = (1 + self.writer.random.below(20), self.writer.random.below(4000));
        for (&id, queue) in &self.model.queues {
            let loaded = load_all(&mut self.log, id, many as usize, octets as usize);
            assert_eq!(loaded, queue.messages, "queue {id}");
        }
    }

    fn maintain(&mut self) {
        let mut steps = 0;
        while self.log.maintain().expect("a sound disk") {
            steps += 1;
            assert!(steps < 10_000, "housekeeping comes to an end");
        }
        self.assert_disk_use();
    }

    /// Within twice what is live, and some segments: the one that is written, the next, those
    /// of the last two snapshots, with messages larger than a segment.
    fn assert_disk_use(&self) {
        let usage = self.log.usage();
        let segment = 20_000 + self.writer.largest;
        let bound = 2 * self.model.octets() + 8 * segment;
        assert!(usage.disk_octets <= bound, "{usage:?}, bound {bound}");
        assert!(self.disk.used() <= bound + segment, "{} used, bound {bound}", self.disk.used());
    }

    /// The program ends without a word, and the machine goes on.
    fn kill(&mut self) {
        self.disk.kill();
        self.restart(vec![self.model.clone()], self.possible.clone());
    }

    fn crash(&mut self) {
        self.disk.crash();
        self.restart(self.possible.clone(), self.possible.clone());
    }

    fn close(&mut self) {
        let (mut batch, mut model) = (Batch::new(), self.model.clone());
        self.writer.settle(&mut batch, &mut model);
        self.log.append(&batch).expect("a disk with room");
        let (log, _, _) = open(&SimulatedDisk::new(0), &self.options).expect("an empty disk");
        std::mem::replace(&mut self.log, log).close().expect("a sound disk");
        // Power cuts do no harm any more.
        if self.writer.random.one_in(2) {
            self.disk.crash();
        }
        let closed = self.restart(vec![model.clone()], vec![model]);
        assert!(closed);
    }

    /// Opens the log again, as one of what is expected; sometimes the power fails while it does,
    /// and then it can be one of what is possible. Says whether it had been closed in order.
    fn restart(&mut self, mut expected: Vec<Model>, possible: Vec<Model>) -> bool {
        let mut opened_before = false;
        while self.writer.random.one_in(5) {
            opened_before = true;
            self.disk.cut_power_after(self.writer.random.below(12));
            let opened = Log::open(Arc::new(self.disk.clone()), self.options.clone());
            if let Ok((_, recovered)) = opened {
                assert!(!recovered.report.is_damaged());
            }
            self.disk.crash();
            expected.clone_from(&possible);
        }
        // What leases covered is marked now; they do not tell any more.
        for model in &mut expected {
            *model = model.restarted();
            model.queues.values_mut().for_each(|queue| queue.leased = 0);
        }
        let (log, model, closed) = open(&self.disk, &self.options).expect("a sound disk");
        if !expected.contains(&model) {
            let differences: Vec<String> =
                expected.iter().map(|expected| expected.difference(&model)).collect();
            panic!("it came back as it never was; different from what was:\n{differences:#?}");
        }
        self.log = log;
        self.model = model.clone();
        self.possible = vec![model];
        closed || opened_before
    }

    /// Nothing that is refused leaves a trace; acknowledgements are still taken.
    fn fill_the_disk(&mut self) {
        self.disk.set_capacity(self.disk.used() + self.writer.random.below(3000));
        for _ in 0..30 {
            match self.append_one(true) {
                Ok(()) => {}
                Err(error) => assert!(error.is_full(), "{error}"),
            }
            if self.writer.random.one_in(3) {
                match self.append_one(false) {
                    Ok(()) => {}
                    Err(error) => assert!(error.is_full(), "{error}"),
                }
            }
            if self.writer.random.one_in(4) {
                match self.log.sync() {
                    Ok(()) => self.possible = vec![self.model.clone()],
                    Err(error) => assert!(error.is_full(), "{error}"),
                }
            }
            if self.writer.random.one_in(4) {
                self.log.maintain().expect("a full disk is no error");
            }
        }
        self.load();
        match self.writer.random.below(3) {
            0 => self.crash(),
            1 => self.kill(),
            _ => {}
        }
        self.load();
        self.disk.set_capacity(u64::MAX);
        self.append();
        self.sync();
    }

    fn fail_a_sync(&mut self) {
        let (mut batch, mut model) = (Batch::new(), self.model.clone());
        self.writer.message(&mut batch, &mut model);
        self.log.append(&batch).expect("a disk with room");
        self.possible.push(model);
        self.disk.fail_syncs(1);
        let failed = self.log.sync();
        assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
        self.assert_it_takes_no_more();
        self.crash();
    }

    fn fail_a_write(&mut self) {
        self.disk.fail_writes(1);
        let failed = self.append_one(true);
        if failed.is_ok() {
            // Nothing was in the batch.
            self.disk.fail_writes(0);
            return;
        }
        assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
        self.assert_it_takes_no_more();
        self.crash();
    }

    fn assert_it_takes_no_more(&mut self) {
        let mut batch = Batch::new();
        batch.put(b"key", b"value");
        assert!(matches!(self.log.append(&batch), Err(Error::Failed { .. })));
        assert!(matches!(self.log.sync(), Err(Error::Failed { .. })));
        assert!(matches!(self.log.maintain(), Err(Error::Failed { .. })));
    }

    /// In the middle of whatever it is.
    fn cut_the_power(&mut self) {
        self.disk.cut_power_after(self.writer.random.below(20));
        loop {
            let done = match self.writer.random.below(4) {
                0 | 1 => self.append_one(true),
                2 => {
                    let synced = self.log.sync();
                    if synced.is_ok() {
                        self.possible = vec![self.model.clone()];
                    }
                    synced
                }
                _ => self.log.maintain().map(|_| ()),
            };
            if done.is_err() {
                break;
            }
        }
        self.crash();
    }
}

/// How many stories, from the environment or as many as fit a test run.
fn stories() -> u64 {
    std::env::var("ROPEWALK_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(5_000)
}

fn tell(seeds: std::ops::Range<u64>) {
    let only = std::env::var("ROPEWALK_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in seeds.filter(|seed| only.is_none_or(|only: u64| only == *seed)) {
        let told = std::panic::catch_unwind(|| {
            let mut story = Story::begin(seed);
            for _ in 0..60 {
                story.step();
            }
            story.sync();
            story.crash();
        });
        if let Err(panic) = told {
            eprintln!("the story of seed {seed}: ROPEWALK_SEED={seed} tells it alone");
            std::panic::resume_unwind(panic);
        }
    }
}

// In two halves, for two cores.
#[test]
fn what_was_synced_is_there_and_nothing_else() {
    tell(0..stories());
}

#[test]
fn what_was_synced_is_there_and_nothing_else_in_other_stories() {
    tell(stories()..2 * stories());
}
