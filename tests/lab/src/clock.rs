//! The clock that every host of a lab shares. Network, mount and pid namespaces all read the kernel's one
//! CLOCK_MONOTONIC, so a time taken in the client host can be compared with one taken in a database host.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    to_ns(clock_gettime(ClockId::Monotonic))
}

/// How far CLOCK_REALTIME is ahead of CLOCK_MONOTONIC in nanoseconds, or `None` when this process was
/// interrupted between the two readings every time, which would make the figure wrong by an unknown amount.
pub fn realtime_lead_ns() -> Option<u64> {
    (0..5).find_map(|_| {
        let before = monotonic_ns();
        let real = to_ns(clock_gettime(ClockId::Realtime));
        let after = monotonic_ns();
        (after - before < LEAD_ERROR_NS).then(|| real.saturating_sub(before))
    })
}

/// The most by which [`realtime_lead_ns`] may be wrong, in nanoseconds.
pub const LEAD_ERROR_NS: u64 = 5_000;

fn to_ns(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
