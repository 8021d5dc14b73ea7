//! The stores that are compared.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use open_wal::{Lsn, Wal, WalConfig};
use redb::{Durability, ReadableDatabase, ReadableTable, TableDefinition};
use ropewalk_store::{Batch, Directory, Log, NEVER, Options, Reference};

use super::Store;

const QUEUE: u64 = 1;

/// Our log, as the broker's glue uses it.
pub(super) struct Ropewalk {
    log: Log,
    batch: Batch,
}

impl Store for Ropewalk {
    fn open(directory: &Path) -> io::Result<Self> {
        let disk = Arc::new(Directory::new(directory).map_err(io::Error::other)?);
        let (log, _) = Log::open(disk, Options::new().salt(7)).map_err(io::Error::other)?;
        Ok(Ropewalk { log, batch: Batch::new() })
    }

    fn append(&mut self, first: u64, count: u64, payload: &[u8], sync: bool) -> io::Result<()> {
        self.batch.clear();
        for position in first..first + count {
            let reference = Reference { queue: QUEUE, position, expires: NEVER };
            self.batch.message(&[reference], true, payload.len() as u64, &[payload]);
        }
        self.log.append(&self.batch).map_err(io::Error::other)?;
        if sync { self.log.sync().map_err(io::Error::other) } else { Ok(()) }
    }

    fn acknowledge(&mut self, places: &[u64]) -> io::Result<()> {
        self.batch.clear();
        for &place in places {
            self.batch.acknowledged(QUEUE, place, place);
        }
        self.log.append(&self.batch).map_err(io::Error::other)?;
        self.log.sync().map_err(io::Error::other)
    }

    fn first(&mut self) -> io::Result<Option<(u64, usize)>> {
        let load = self.log.load(QUEUE, 0, 1, 1 << 20).map_err(io::Error::other)?;
        Ok(load.messages.first().map(|loaded| (loaded.position, loaded.payload.len())))
    }

    fn maintain(&mut self) -> io::Result<()> {
        self.log.maintain().map(|_| ()).map_err(io::Error::other)
    }

    fn close(self) -> io::Result<()> {
        self.log.close().map_err(io::Error::other)
    }
}

/// A B-tree with copy on write.
pub(super) struct Redb {
    database: redb::Database,
}

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");

impl Redb {
    fn change(
        &mut self,
        sync: bool,
        change: impl FnOnce(&mut redb::Table<'_, u64, &[u8]>) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        let durability = if sync { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability)?;
        change(&mut transaction.open_table(TABLE)?)?;
        transaction.commit()?;
        Ok(())
    }
}

impl Store for Redb {
    fn open(directory: &Path) -> io::Result<Self> {
        let file = directory.join("redb");
        let database = redb::Database::create(file).map_err(io::Error::other)?;
        Ok(Redb { database })
    }

    fn append(&mut self, first: u64, count: u64, payload: &[u8], sync: bool) -> io::Result<()> {
        let done = self.change(sync, |table| {
            for place in first..first + count {
                table.insert(place, payload)?;
            }
            Ok(())
        });
        done.map_err(io::Error::other)
    }

    fn acknowledge(&mut self, places: &[u64]) -> io::Result<()> {
        let done = self.change(true, |table| {
            for place in places {
                table.remove(place)?;
            }
            Ok(())
        });
        done.map_err(io::Error::other)
    }

    fn first(&mut self) -> io::Result<Option<(u64, usize)>> {
        let first = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(TABLE)?;
            let first = table.first()?;
            Ok(first.map(|(place, payload)| (place.value(), payload.value().len())))
        };
        first().map_err(io::Error::other)
    }

    fn close(self) -> io::Result<()> {
        Ok(())
    }
}

/// A log of records. What is left is what its user remembers, having read all of it.
pub(super) struct OpenWal {
    wal: Wal,
    left: BTreeSet<u64>,
    /// Of the first message that is left, while opening.
    octets: usize,
}

/// In front of a record.
const MESSAGE: u8 = 1;
const ACKNOWLEDGED: u8 = 2;

impl Store for OpenWal {
    fn open(directory: &Path) -> io::Result<Self> {
        let config = WalConfig { segment_size: Options::SEGMENT_OCTETS, ..WalConfig::default() };
        let (wal, _) = Wal::open(directory, config).map_err(io::Error::other)?;
        let (mut left, mut octets) = (BTreeSet::new(), 0);
        let mut reader = wal.reader_from(Lsn(0)).map_err(io::Error::other)?;
        while let Some(record) = reader.next() {
            let (_, record) = record.map_err(io::Error::other)?;
            let (Some(kind), Some(place)) = (record.first(), record.get(1..9)) else { continue };
            let place = u64::from_le_bytes(place.try_into().map_err(io::Error::other)?);
            match *kind {
                MESSAGE => {
                    left.insert(place);
                    octets = record.len() - 9;
                }
                _ => {
                    left.remove(&place);
                }
            }
        }
        drop(reader);
        Ok(OpenWal { wal, left, octets })
    }

    fn append(&mut self, first: u64, count: u64, payload: &[u8], sync: bool) -> io::Result<()> {
        let mut record = vec![MESSAGE];
        for place in first..first + count {
            record.truncate(1);
            record.extend_from_slice(&place.to_le_bytes());
            record.extend_from_slice(payload);
            self.wal.append(&record).map_err(io::Error::other)?;
            self.left.insert(place);
        }
        self.octets = payload.len();
        // It has no write without a sync.
        let _ = sync;
        self.wal.commit().map(|_| ()).map_err(io::Error::other)
    }

    fn acknowledge(&mut self, places: &[u64]) -> io::Result<()> {
        let mut record = vec![ACKNOWLEDGED];
        for place in places {
            record.truncate(1);
            record.extend_from_slice(&place.to_le_bytes());
            self.wal.append(&record).map_err(io::Error::other)?;
            self.left.remove(place);
        }
        self.wal.commit().map(|_| ()).map_err(io::Error::other)
    }

    fn first(&mut self) -> io::Result<Option<(u64, usize)>> {
        Ok(self.left.first().map(|&place| (place, self.octets)))
    }

    fn close(self) -> io::Result<()> {
        Ok(())
    }
}

/// A log-structured merge tree.
pub(super) struct Fjall {
    database: Database,
    messages: Keyspace,
}

impl Store for Fjall {
    fn open(directory: &Path) -> io::Result<Self> {
        let database = Database::builder(directory).open().map_err(io::Error::other)?;
        let messages = database.keyspace("messages", KeyspaceCreateOptions::default);
        Ok(Fjall { messages: messages.map_err(io::Error::other)?, database })
    }

    fn append(&mut self, first: u64, count: u64, payload: &[u8], sync: bool) -> io::Result<()> {
        let durability = if sync { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch = self.database.batch().durability(Some(durability));
        for place in first..first + count {
            batch.insert(&self.messages, place.to_be_bytes(), payload);
        }
        batch.commit().map_err(io::Error::other)
    }

    fn acknowledge(&mut self, places: &[u64]) -> io::Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for place in places {
            batch.remove(&self.messages, place.to_be_bytes());
        }
        batch.commit().map_err(io::Error::other)
    }

    fn first(&mut self) -> io::Result<Option<(u64, usize)>> {
        let Some(first) = self.messages.first_key_value() else { return Ok(None) };
        let (key, payload) = first.into_inner().map_err(io::Error::other)?;
        let key: [u8; 8] = key.as_ref().try_into().map_err(io::Error::other)?;
        Ok(Some((u64::from_be_bytes(key), payload.len())))
    }

    fn close(self) -> io::Result<()> {
        self.database.persist(PersistMode::SyncAll).map_err(io::Error::other)
    }
}
