//! What time it is, for daemons.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use mezzo_time::{Timestamp, steered};
use tracing::warn;

/// From this on a difference to the wall clock is told in the log.
const WORTH_TELLING: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Known {
    time: Timestamp,
    at: Instant,
    told: bool,
}

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

/// The time: that of the wall clock as long as nobody sets it, and never the jump itself when somebody
/// does. It then comes closer by a tenth of the time that passes, so dates are wrong for a while, and
/// timeouts are at most a tenth too long or too short.
pub fn now() -> Timestamp {
    // Every change of it is complete before the lock is released.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (at, wall) = (Instant::now(), wall());
    let known = known.get_or_insert(Known { time: wall, at, told: false });
    known.time = steered(known.time, at.saturating_duration_since(known.at), wall);
    known.at = at;
    let off = known.time.since(wall).max(wall.since(known.time));
    if off < WORTH_TELLING {
        known.told = false;
    } else if !std::mem::replace(&mut known.told, true) {
        warn!(
            seconds = off.as_secs(),
            "the clock of this machine was set; the time used here follows it at a tenth of its pace, or at \
             once after a restart"
        );
    }
    known.time
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::ZERO + since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_wall_clock_and_never_goes_back() {
        let mut before = now();
        for _ in 0..1000 {
            let time = now();
            assert!(time >= before);
            before = time;
        }
        let off = before.since(wall()).max(wall().since(before));
        assert!(off < Duration::from_secs(1), "{off:?}");
    }
}
