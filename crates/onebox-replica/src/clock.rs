//! Log time: what `now()` means. It never goes back, and it does not follow a wall clock that leaps forward.

use onebox_service::Time;

use crate::input::Clock;

/// Makes the times of entries from the machine's clocks.
#[derive(Debug)]
pub(crate) struct LogClock {
    last: Time,
    /// Wall time minus uptime, while the wall clock is believed.
    offset: Option<u64>,
    jumped: bool,
}

impl LogClock {
    /// After a last entry of this time.
    pub(crate) fn after(last: Time) -> LogClock {
        LogClock { last, offset: None, jumped: false }
    }

    /// The latest time seen.
    pub(crate) fn last(&self) -> Time {
        self.last
    }

    /// An entry of this time was applied or written.
    pub(crate) fn seen(&mut self, time: Time) {
        self.last = self.last.max(time);
    }

    /// The time for the next entry, and by how many microseconds the clock has just leapt, if it has leapt further than it is followed.
    pub(crate) fn now(&mut self, clock: Clock, leap_max: u64) -> (Time, Option<u64>) {
        let offset_now = clock.wall.0.saturating_sub(clock.uptime);
        let offset = *self.offset.get_or_insert(offset_now);
        let leap = offset_now.saturating_sub(offset);
        if leap <= leap_max {
            // Small steps either way are followed; `last` keeps time from going back.
            self.offset = Some(offset_now);
            self.jumped = false;
            return (clock.wall.max(self.last), None);
        }
        let told = std::mem::replace(&mut self.jumped, true);
        (Time(offset.saturating_add(clock.uptime)).max(self.last), (!told).then_some(leap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000;

    fn at(wall: u64, uptime: u64) -> Clock {
        Clock { wall: Time(wall), uptime }
    }

    #[test]
    fn time_never_goes_back() {
        let mut clock = LogClock::after(Time(0));
        assert_eq!(clock.now(at(1000, 0), MINUTE), (Time(1000), None));
        clock.seen(Time(1000));
        assert_eq!(clock.now(at(400, 10), MINUTE), (Time(1000), None));
    }

    #[test]
    fn a_leap_forward_is_not_followed_and_told_once() {
        let mut clock = LogClock::after(Time(0));
        clock.now(at(1000, 0), MINUTE);
        let leap = 5 * MINUTE;
        assert_eq!(clock.now(at(1010 + leap, 10), MINUTE), (Time(1010), Some(leap)));
        assert_eq!(clock.now(at(1020 + leap, 20), MINUTE), (Time(1020), None));
        assert_eq!(clock.now(at(1030, 30), MINUTE), (Time(1030), None));
    }
}
