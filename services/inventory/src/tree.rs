//! The location tree, walked upwards: a location and its ancestors.
//!
//! The root is location 0. It has no row of its own and ends every path. A location's row names its parent, and a move
//! into its own subtree is refused, so every path reaches the root.

use crate::Tables;

/// The root location: it always exists, holds no stock of its own, and is never added, moved or listed as a node.
pub(crate) const ROOT: u64 = 0;

/// `location` and its ancestors, nearest first and the root last. `None` if there is no such location.
///
/// # Panics
/// If the parent of an existing location does not exist.
pub(crate) fn path(tables: &impl Tables, location: u64) -> Option<Vec<u64>> {
    let mut path = Vec::with_capacity(8);
    let mut at = location;
    while at != ROOT {
        path.push(at);
        match tables.locations().get(at) {
            Some(row) => at = row.parent,
            None if at == location => return None,
            None => panic!("location {at} is an ancestor of location {location} and does not exist"),
        }
    }
    path.push(ROOT);
    Some(path)
}

/// The path of a location that an event names, and that therefore exists.
///
/// # Panics
/// If it does not exist.
pub(crate) fn known_path(tables: &impl Tables, location: u64) -> Vec<u64> {
    path(tables, location).unwrap_or_else(|| panic!("an event or a row names location {location}, which does not exist"))
}

/// Whether there is such a location; the root always is.
pub(crate) fn exists(tables: &impl Tables, location: u64) -> bool {
    location == ROOT || tables.locations().get(location).is_some()
}

/// Two paths without the ancestors that both have.
pub(crate) fn without_shared(mut one: Vec<u64>, mut other: Vec<u64>) -> (Vec<u64>, Vec<u64>) {
    while one.last().is_some() && one.last() == other.last() {
        one.pop();
        other.pop();
    }
    (one, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_ancestors_are_dropped_from_both_paths() {
        let check = |one: &[u64], other: &[u64], expected: (&[u64], &[u64])| {
            let (one, other) = without_shared(one.to_vec(), other.to_vec());
            assert_eq!((&one[..], &other[..]), expected);
        };
        check(&[5, 3, 1, 0], &[4, 1, 0], (&[5, 3], &[4]));
        check(&[1, 0], &[0], (&[1], &[]));
        check(&[0], &[2, 0], (&[], &[2]));
        check(&[2, 0], &[2, 0], (&[], &[]));
    }
}
