//! The bytes that replicas and versions compare: these values never change within a format version.

use std::sync::Arc;

use onebox_service::{FaultKind, KeyspaceMut};
use onebox_store::NodeId;
use onebox_store::memory::MemoryDisk;
use onebox_store::state::{State, StateOptions};

use crate::world::{self, Writes, options};

fn writes() -> Writes {
    vec![
        (b"a".to_vec(), Some(b"one".to_vec())),
        (b"b".to_vec(), Some(vec![])),
        (b"a".to_vec(), None),
        (b"c".to_vec(), Some(b"two".to_vec())),
    ]
}

#[test]
fn chain_and_digest_are_what_they_were() {
    let (mut state, facts) = world::open(&MemoryDisk::new(), usize::MAX).expect("opens");
    assert_eq!((facts.chain.0, facts.digest.0), (0, 0));
    world::commit(&mut state, &writes(), 1);
    assert_eq!(format!("{} {}", state.chain(), state.digest()), "0a8c6e20e076ab81835217fbd27ecb25 4083b12b7be69ad3198f64af247cc5b3");
    assert_eq!(state.chain().0, world::chain_after(0, &writes()));
}

#[test]
fn a_base_of_another_node_is_refused() {
    let disk = MemoryDisk::new();
    drop(world::open(&disk, usize::MAX).expect("opens"));
    let other = StateOptions { node: NodeId(9), ..options(usize::MAX) };
    let fault = State::open(Arc::new(disk), other).expect_err("it is another node's");
    assert_eq!(fault.kind, FaultKind::Foreign);
    assert!(fault.detail.contains("it belongs to node 00000000000000000000000000001234"), "{fault}");
}

#[test]
fn entries_without_rows_move_the_position_and_carry_the_membership() {
    let disk = MemoryDisk::new();
    let (mut state, _) = world::open(&disk, usize::MAX).expect("opens");
    world::commit(&mut state, &writes(), 1);
    state.put(b"d", b"in flight").expect("puts");
    state.seal_entry();
    state.set_membership(vec![1, 2, 3]);
    let (second, third) = (world::position(2), world::position(3));
    state.advance(second.index, second.term, second.time);
    assert_eq!(state.publish().position(), second);
    state.commit_entry(third.index, third.term, third.time);
    state.advance(world::position(4).index, third.term, third.time);
    world::flush_all(&mut state).expect("flushes");
    assert_eq!(state.base_applied().index.0, 4);
    state.request_flush();
    assert!(!state.flush_due(), "nothing is new");
    assert!(state.begin_flush().is_none());
    drop(state);
    let (_, facts) = world::open(&disk, usize::MAX).expect("opens");
    assert_eq!((facts.applied.index.0, facts.membership, facts.rows), (4, Some(vec![1, 2, 3]), 3));
}
