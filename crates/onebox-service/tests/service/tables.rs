//! Tables: scans fetch pages and lose nothing between them, indexes are kept in step with their rows, and in order.

use onebox_service::{Failure, Time};

use crate::stage::{AMPLE, BY_CODE, BY_GROUP, Item, Space, ask, context, delete, done, item, items, put, replay, run};

fn ids(found: impl Iterator<Item = Item>) -> Vec<u64> {
    found.map(|item| item.id).collect()
}

#[test]
fn a_scan_gives_every_row_once_and_in_order_whatever_the_size_of_its_pages() {
    // Pages end after 16, 80, 336 and 1,360 rows.
    for rows in [0, 1, 15, 16, 17, 79, 80, 81, 336, 337, 1360, 1361, 3000] {
        let mut space = Space::default();
        // Numbers of one to eight bytes: their order in keys is that of their values.
        let numbers: Vec<u64> = (0..rows).map(|row| row * row * row * 250_007).collect();
        let given = numbers.clone();
        done(&mut space, move |tx| tx.record(put(given.iter().rev().map(|id| item(*id, "", "g", -(*id as i64))))));
        space.steps.set(0);
        let expected = numbers.clone();
        let asked = ask(&space, &context(AMPLE), move |reader| {
            assert_eq!(ids(items(reader).all()), expected, "{rows} rows by key");
            let mut by_rank = ids(items(reader).starting_with(BY_GROUP, &"g"));
            by_rank.reverse();
            assert_eq!(by_rank, expected, "{rows} rows by index, whose rank falls as the id rises");
            Ok(Vec::new())
        });
        assert_eq!(asked, Ok(Vec::new()));
        assert_eq!(space.steps.get() as u64, 2 * rows, "no row is stepped over twice");
    }
}

#[test]
fn a_scan_that_is_left_early_has_fetched_no_more_than_its_pages() {
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(put((0..2000).map(|id| item(id, "", "g", 0)))));
    for (taken, fetched) in [(0, 0), (1, 16), (16, 16), (17, 80), (81, 336)] {
        space.steps.set(0);
        let asked = ask(&space, &context(AMPLE), move |reader| {
            assert_eq!(items(reader).all().take(taken).count(), taken);
            Ok(Vec::new())
        });
        assert_eq!((asked, space.steps.get()), (Ok(Vec::new()), fetched), "{taken} rows taken");
    }
}

#[test]
fn a_scan_that_has_ended_stays_so() {
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(put([item(1, "", "g", 0)])));
    let asked = ask(&space, &context(AMPLE), |reader| {
        let mut scan = items(reader).all();
        assert_eq!([scan.next().is_some(), scan.next().is_some(), scan.next().is_some()], [true, false, false]);
        Ok(Vec::new())
    });
    assert_eq!(asked, Ok(Vec::new()));
}

#[test]
fn an_index_is_scanned_in_the_order_of_its_fields_and_then_of_the_key() {
    let mut space = Space::default();
    done(&mut space, |tx| {
        tx.record(put([
            item(9, "", "b", 1),
            item(4, "", "b", 1),
            item(1, "", "b", 300),
            item(2, "", "b", -300),
            item(3, "", "b", -1),
            item(5, "", "b", 0),
            item(6, "", "", 7),
            item(7, "", "a\0", 7),
            item(8, "", "ba", 7),
            item(10, "", "ä", 7),
        ]));
    });
    let asked = ask(&space, &context(AMPLE), |reader| {
        assert_eq!(ids(items(reader).starting_with(BY_GROUP, &"b")), [2, 3, 5, 4, 9, 1], "and no group that only begins so");
        assert_eq!(ids(items(reader).starting_with(BY_GROUP, &("b", 1i64))), [4, 9]);
        assert_eq!(ids(items(reader).starting_with(BY_GROUP, &"c")), [0; 0]);
        assert_eq!(ids(items(reader).starting_with(BY_GROUP, &())), [6, 7, 2, 3, 5, 4, 9, 1, 8, 10], "the whole index");
        assert_eq!(ids(items(reader).starting_with(0, &4u64)), [4], "index 0 is the primary key");
        Ok(Vec::new())
    });
    assert_eq!(asked, Ok(Vec::new()));
}

#[test]
fn index_entries_follow_their_rows() {
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(put([item(1, "one", "a", 1), item(2, "two", "a", 2)])));
    assert_eq!(space.rows.len(), 6, "two rows with two entries each");
    done(&mut space, |tx| {
        // Seen at once, in the same request.
        tx.record(put([item(1, "uno", "b", 1)]));
        assert_eq!(items(tx).unique(BY_CODE, &"one"), None);
        assert_eq!(items(tx).unique(BY_CODE, &"uno").map(|item| item.id), Some(1));
        assert_eq!(ids(items(tx).starting_with(BY_GROUP, &"a")), [2]);
        assert_eq!(ids(items(tx).starting_with(BY_GROUP, &"b")), [1]);
        tx.record(put([item(3, "one", "a", 0)]));
        assert_eq!(items(tx).unique(BY_CODE, &"one").map(|item| item.id), Some(3), "a code that was given up is free");
        tx.record(delete(2));
        assert_eq!(items(tx).get(&2u64), None);
        assert_eq!(items(tx).unique(BY_CODE, &"two"), None);
        assert_eq!(ids(items(tx).starting_with(BY_GROUP, &"a")), [3]);
        tx.record(put([item(3, "", "a", 0)]));
        assert_eq!(items(tx).unique(BY_CODE, &"one"), None, "no code, no entry");
    });
    assert_eq!(space.rows.len(), 3 + 2, "row, code and group of 1; row and group of 3");
    done(&mut space, |tx| {
        tx.record(delete(1));
        tx.record(delete(3));
        tx.record(delete(77));
    });
    assert!(space.rows.is_empty(), "nothing is left behind: {:?}", space.rows);
}

#[test]
fn a_unique_index_is_never_taken_over() {
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(put([item(1, "one", "a", 1)])));
    done(&mut space, |tx| tx.record(put([item(1, "one", "b", 2)])));
    let ran = run(&mut space.clone(), &context(AMPLE), |tx| {
        tx.record(put([item(2, "one", "a", 1)]));
        Ok(Vec::new())
    });
    let words = "unique index 1 of table items already holds this entry: a feature must refuse it";
    assert_eq!(ran.outcome, Err(Failure::Bug(words.to_owned())));
    done(&mut space, |tx| tx.record(put([item(1, "", "a", 1), item(2, "one", "a", 1)])));
}

#[test]
fn rows_of_other_tenants_are_not_seen() {
    let mut space = Space::default();
    done(&mut space, |tx| tx.record(put([item(1, "one", "a", 1)])));
    for tenant in [2, 4, 30, 300] {
        let elsewhere = onebox_service::Context { tenant: onebox_service::TenantId(tenant), ..context(AMPLE) };
        let asked = ask(&space, &elsewhere, |reader| {
            assert_eq!(items(reader).get(&1u64), None);
            assert_eq!(items(reader).unique(BY_CODE, &"one"), None);
            assert_eq!(items(reader).all().count(), 0);
            Ok(Vec::new())
        });
        assert_eq!(asked, Ok(Vec::new()));
    }
}

#[test]
fn what_is_recorded_writes_the_same_rows_again() {
    let mut space = Space::default();
    let mut all = Vec::new();
    for round in 0..20u64 {
        all.push(done(&mut space, move |tx| {
            let id = tx.new_id();
            let mut change = put([item(id, &format!("code {id}"), "g", -(round as i64)), item(round % 3, "", "h", round as i64)]);
            change.creates.push(id);
            tx.record(change);
            tx.record(delete(round / 2));
        }));
    }
    let mut again = Space::default();
    for recorded in &all {
        assert_eq!(replay(recorded, &mut again), Ok(()));
    }
    assert_eq!(again.rows, space.rows);
}

#[test]
fn time_is_that_of_the_entry() {
    let asked = ask(&Space::default(), &context(AMPLE), |reader| {
        assert_eq!(onebox_service::Read::now(reader), Time(1000));
        Ok(Vec::new())
    });
    assert_eq!(asked, Ok(Vec::new()));
}
