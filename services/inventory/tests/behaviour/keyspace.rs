//! A keyspace in an ordered map: the smallest that can carry the service. It never fails.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use onebox_service::keyspace::EachRow;
use onebox_service::{Bytes, Fault, Keyspace, KeyspaceMut};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemoryRows(BTreeMap<Vec<u8>, Bytes>);

impl Keyspace for MemoryRows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) -> Result<(), Fault> {
        for (key, value) in self.0.range(from.to_vec()..to.to_vec()) {
            if let ControlFlow::Break(()) = each(key, value) {
                break;
            }
        }
        Ok(())
    }
}

impl KeyspaceMut for MemoryRows {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.0.insert(key.to_vec(), Bytes::from(value));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.0.remove(key);
        Ok(())
    }
}
