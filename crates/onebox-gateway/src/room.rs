//! A bounded amount of something (calls, bytes) that many take from and give back. What is taken exceeds the bound
//! only by what its taker cannot do without, and comes back when its [`Taken`] is dropped, whatever ended the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bound, and how much of it is taken.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicUsize,
    max: usize,
}

/// An amount taken from a room.
#[derive(Debug)]
pub(crate) struct Taken {
    room: Arc<Room>,
    amount: usize,
}

impl Room {
    pub(crate) fn new(max: usize) -> Arc<Room> {
        Arc::new(Room { taken: AtomicUsize::new(0), max })
    }

    /// Takes `amount`, if there is room for it.
    pub(crate) fn take(self: &Arc<Room>, amount: usize) -> Option<Taken> {
        let mut taken = Taken { room: self.clone(), amount: 0 };
        taken.grow(amount).then_some(taken)
    }

    /// Nothing of it.
    pub(crate) fn take_none(self: &Arc<Room>) -> Taken {
        Taken { room: self.clone(), amount: 0 }
    }

    /// Whether nothing more can be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.max
    }
}

impl Taken {
    /// Takes `more`, if there is room for it; otherwise nothing changes.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let room = &self.room;
        let before = room.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            let then = taken.checked_add(more)?;
            (then <= room.max).then_some(then)
        });
        if before.is_ok() {
            self.amount += more;
        }
        before.is_ok()
    }

    /// Takes `more`, whether or not there is room for it.
    pub(crate) fn grow_beyond(&mut self, more: usize) {
        self.room.taken.fetch_add(more, Ordering::Relaxed);
        self.amount += more;
    }

    pub(crate) fn amount(&self) -> usize {
        self.amount
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let before = self.room.taken.fetch_sub(self.amount, Ordering::Relaxed);
        assert!(before >= self.amount, "gave back {} of {before}", self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn what_is_taken_stays_within_the_bound_and_comes_back() {
        let room = Room::new(10);
        let mut first = room.take(6).expect("there is room");
        assert!(room.take(5).is_none());
        assert!(first.grow(4));
        assert!(!first.grow(1));
        drop(first);
        assert!(room.take(10).is_some());
        assert!(room.take(usize::MAX).is_none());
    }

    #[test]
    fn what_is_taken_beyond_the_bound_leaves_no_room_until_it_comes_back() {
        let room = Room::new(10);
        let mut first = room.take_none();
        assert!(!room.is_full());
        first.grow_beyond(12);
        assert!(room.is_full());
        assert!(room.take(1).is_none());
        drop(first);
        assert!(!room.is_full());
        assert!(room.take(10).is_some());
    }
}
