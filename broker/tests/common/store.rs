//! A journal that is a store, in memory.

use ropewalk_broker::*;

#[derive(Default)]
pub(crate) struct Store;

impl Journal for Store {
    fn defined(&mut self, _definition: &Definition<'_>) {}
    fn undefined(&mut self, _key: &DefinitionKey<'_>) {}
    fn message(&mut self, _message: &JournaledMessage<'_>) {}
    fn acknowledged(&mut self, _queue: QueueNumber, _first: Position, _last: Position) {}
    fn leased(&mut self, _queue: QueueNumber, _end: Position) {}
    fn returned(&mut self, _queue: QueueNumber, _position: Position, _returns: u32) {}
    fn queue_removed(&mut self, _queue: QueueNumber) {}
}
