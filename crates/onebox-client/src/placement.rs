//! Which partition a tenant is of.

/// The partition, of so many, that holds a tenant: by a hash of its name, the same on every node and in every build.
///
/// # Panics
/// If there is no partition.
pub fn placement(tenant: &str, partitions: u32) -> u32 {
    assert!(partitions > 0, "a tenant is of a partition");
    (xxhash_rust::xxh3::xxh3_64(tenant.as_bytes()) % u64::from(partitions)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_stay_where_they_are() {
        assert_eq!(["default", "acme", "north", "south"].map(|tenant| placement(tenant, 4)), [2, 1, 2, 2]);
        assert_eq!(placement("anybody", 1), 0);
    }

    #[test]
    fn tenants_are_spread_evenly() {
        let mut held = [0; 8];
        (0..8_000).for_each(|number| held[placement(&format!("tenant-{number}"), 8) as usize] += 1);
        assert!(held.iter().all(|held| (900..1_100).contains(held)), "{held:?}");
    }
}
