//! When a cluster goes on to a higher feature level.

/// The level that a cluster on level `now` may go on to: the highest that every member knows, if it is higher. A member
/// that has told nothing (None) may know no more than the cluster has: it keeps the cluster where it is.
///
/// It happens by itself, as with etcd's cluster version: the step is safe exactly when all know the level, which masters
/// can ask each other and operators forget. Who wants the way back to an older version kept open lets the masters claim
/// less than they know.
pub fn next_level(now: u32, known: impl IntoIterator<Item = Option<u32>>) -> Option<u32> {
    // An unknown level is below all others.
    known.into_iter().min().flatten().filter(|level| *level > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_goes_on_to_what_all_members_know() {
        let check = |now: u32, known: &[Option<u32>], expect: Option<u32>| {
            assert_eq!(next_level(now, known.iter().copied()), expect, "{now} {known:?}");
        };
        check(1, &[Some(2), Some(2), Some(2)], Some(2));
        check(1, &[Some(4), Some(3), Some(5)], Some(3));
        check(1, &[Some(2), Some(1), Some(2)], None);
        check(1, &[Some(2), None, Some(2)], None);
        check(1, &[None], None);
        check(1, &[], None);
        check(2, &[Some(2), Some(2), Some(2)], None);
        check(3, &[Some(2), Some(2), Some(2)], None);
        check(1, &[Some(2)], Some(2));
    }
}
