//! Running a request for nothing but the rows it reads: they are in memory when it runs for good.
//!
//! Its writes go into a layer above the state and are dropped; its answer is of no use and not given.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use crate::execute::{Context, Recorded, execute};
use crate::keyspace::EachRow;
use crate::{Bytes, Fault, Keyspace, KeyspaceMut, MethodId, Service};

/// Runs a request on `space` and forgets all of it.
pub fn rehearse(service: &dyn Service, method: MethodId, request: &[u8], space: &dyn Keyspace, context: &Context) {
    let mut layer = Layer { below: space, written: BTreeMap::new() };
    // Refused, failed or carried out: its rows were read.
    let _ = execute(service, method, request, &mut layer, context, &mut Recorded::default());
}

struct Layer<'a> {
    below: &'a dyn Keyspace,
    written: BTreeMap<Vec<u8>, Option<Bytes>>,
}

impl Keyspace for Layer<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        match self.written.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.below.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) -> Result<(), Fault> {
        if from >= to {
            return Ok(());
        }
        let mut written = self.written.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))).peekable();
        let mut ended = false;
        self.below.scan(from, to, &mut |key, value| {
            while let Some((new_key, new_value)) = written.next_if(|(new_key, _)| new_key.as_slice() < key) {
                if let Some(new_value) = new_value
                    && each(new_key, new_value).is_break()
                {
                    ended = true;
                    return ControlFlow::Break(());
                }
            }
            let replaced = written.next_if(|(new_key, _)| new_key.as_slice() == key);
            let flow = match replaced {
                None => each(key, value),
                Some((_, Some(new_value))) => each(key, new_value),
                Some((_, None)) => ControlFlow::Continue(()),
            };
            ended = flow.is_break();
            flow
        })?;
        for (key, value) in written {
            if ended {
                break;
            }
            if let Some(value) = value {
                ended = each(key, value).is_break();
            }
        }
        Ok(())
    }
}

impl KeyspaceMut for Layer<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.written.insert(key.to_vec(), Some(Bytes::from(value)));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.written.insert(key.to_vec(), None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_shows_what_was_written_above_what_is_below() {
        let empty = Layer { below: &Nothing, written: BTreeMap::new() };
        let below = Layer { below: &empty, written: ["b", "d", "f"].map(|key| (key.into(), Some(Bytes::from(&b"old"[..])))).into() };
        let mut layer = Layer { below: &below, written: BTreeMap::new() };
        for key in ["a", "d", "g"] {
            layer.put(key.as_bytes(), b"new").unwrap();
        }
        layer.delete(b"f").unwrap();
        let mut seen = String::new();
        layer
            .scan(b"a", b"z", &mut |key, value| {
                seen += &format!("{}={} ", String::from_utf8_lossy(key), String::from_utf8_lossy(value));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen, "a=new b=old d=new g=new ");
        assert_eq!(layer.get(b"f"), Ok(None));
    }

    struct Nothing;

    impl Keyspace for Nothing {
        fn get(&self, _: &[u8]) -> Result<Option<Bytes>, Fault> {
            Ok(None)
        }
        fn scan(&self, _: &[u8], _: &[u8], _: &mut EachRow<'_>) -> Result<(), Fault> {
            Ok(())
        }
    }
}
