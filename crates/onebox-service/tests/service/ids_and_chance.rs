//! Ids follow what was recorded; chance is the seed's.

use onebox_service::{Failure, Outcome, Read, Tx};

use crate::stage::{AMPLE, Space, context, creating, done, replay, run};

fn drawing(space: &mut Space, feature: impl Fn(&mut Tx<'_>) -> Outcome<Vec<u8>> + Send + Sync + 'static) -> Result<Vec<u8>, Failure> {
    run(space, &context(AMPLE), feature).outcome
}

#[test]
fn ids_follow_each_other_within_and_between_requests() {
    let mut space = Space::default();
    for round in 0..3u64 {
        done(&mut space, move |tx| {
            let ids = [tx.new_id(), tx.new_id(), tx.new_id()];
            assert_eq!(ids, [3 * round + 1, 3 * round + 2, 3 * round + 3]);
            tx.record(creating(ids));
        });
        assert_eq!(space.rows.len(), 1, "one row holds the counter");
    }
}

#[test]
fn an_id_that_is_drawn_and_not_recorded_is_a_bug_that_names_it() {
    let words = |id: u64| Err(Failure::Bug(format!("id {id} was drawn with new_id() and not recorded in any event")));
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(creating([6])));
    let one = |tx: &mut Tx<'_>| {
        tx.new_id();
        Ok(Vec::new())
    };
    assert_eq!(drawing(&mut space.clone(), one), words(7));
    let second_of_two = |tx: &mut Tx<'_>| {
        let (first, _) = (tx.new_id(), tx.new_id());
        tx.record(creating([first]));
        Ok(Vec::new())
    };
    assert_eq!(drawing(&mut space.clone(), second_of_two), words(8));
    let first_of_two = |tx: &mut Tx<'_>| {
        let (_, second) = (tx.new_id(), tx.new_id());
        tx.record(creating([second]));
        Ok(Vec::new())
    };
    assert_eq!(drawing(&mut space.clone(), first_of_two), words(7));
}

#[test]
fn the_counter_follows_recorded_ids_wherever_they_come_from() {
    let mut space = Space::default();
    let mut all = Vec::new();
    all.push(done(&mut space, |tx| {
        tx.record(creating([100]));
        let id = tx.new_id();
        assert_eq!(id, 101, "also in the request that recorded it");
        tx.record(creating([id, 50]));
        let id = tx.new_id();
        assert_eq!(id, 102, "a lower one does not bring it back");
        tx.record(creating([id]));
    }));
    all.push(done(&mut space, |tx| {
        tx.record(creating([7]));
        let id = tx.new_id();
        assert_eq!(id, 103);
        tx.record(creating([id]));
    }));
    all.push(done(&mut space, |tx| tx.record(creating([0]))));
    let mut again = Space::default();
    for recorded in &all {
        assert_eq!(replay(recorded, &mut again), Ok(()));
    }
    assert_eq!(again.rows, space.rows, "the counter too");
}

#[test]
fn the_last_id_of_all_is_followed_by_a_bug_and_not_by_the_first() {
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(creating([u64::MAX])));
    let next = drawing(&mut space, |tx| {
        tx.new_id();
        Ok(Vec::new())
    });
    assert_eq!(next, Err(Failure::Bug("the tenant's id counter is at its end".to_owned())));
}

#[test]
fn each_tenant_counts_for_itself() {
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(creating([9])));
    let elsewhere = onebox_service::Context { tenant: onebox_service::TenantId(4), ..context(AMPLE) };
    let ran = run(&mut space, &elsewhere, |tx| {
        let id = tx.new_id();
        tx.record(creating([id]));
        assert_eq!((tx.tenant().0, id), (4, 1));
        Ok(Vec::new())
    });
    assert_eq!(ran.outcome, Ok(Vec::new()));
}

#[test]
fn chance_is_a_function_of_the_seed() {
    let draw = |seed: u64| {
        let context = onebox_service::Context { seed, ..context(AMPLE) };
        let drawn = run(&mut Space::default(), &context, |tx| Ok((0..4).flat_map(|_| tx.random().to_be_bytes()).collect()));
        drawn.outcome.expect("it only draws")
    };
    let first = draw(1);
    assert_eq!(draw(1), first);
    let numbers: std::collections::BTreeSet<Vec<u8>> =
        (0..100).flat_map(|seed| draw(seed).chunks(8).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect();
    assert_eq!(numbers.len(), 400, "every draw and every seed gives another");
}
