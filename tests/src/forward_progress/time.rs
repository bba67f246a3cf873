//! Units of the simulated time. The simulation counts nanoseconds, so that the times of single bytes on a bus add up.

/// A simulated moment or duration, in nanoseconds.
pub type Nanos = u64;

/// One microsecond. It is the tick of the program's clock.
pub const MICROSECOND: Nanos = 1000;
/// One millisecond.
pub const MILLISECOND: Nanos = 1000 * MICROSECOND;
/// One second.
pub const SECOND: Nanos = 1000 * MILLISECOND;
/// One minute.
pub const MINUTE: Nanos = 60 * SECOND;
/// One hour.
pub const HOUR: Nanos = 60 * MINUTE;
/// One day.
pub const DAY: Nanos = 24 * HOUR;
/// One year.
pub const YEAR: Nanos = 365 * DAY;

/// Returns a time in seconds.
#[must_use]
pub fn seconds(time: Nanos) -> f64 {
    time as f64 / SECOND as f64
}

/// Formats a time with a unit that fits, for example `1.5 s` or `20 min`.
#[must_use]
pub fn format(time: Nanos) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (MILLISECOND, "ms"), (MICROSECOND, "µs")];
    let (unit, name) = *units.iter().find(|(unit, _)| time >= *unit).unwrap_or(&(1, "ns"));
    let value = time as f64 / unit as f64;
    let digits = usize::from(value < 99.95 && !time.is_multiple_of(unit));
    format!("{value:.digits$} {name}")
}
