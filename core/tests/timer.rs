//! Tests of `Timer` with a clock that runs backwards, and of closures as clocks.

use training_monitor::Timer;
use training_monitor::time::Clock;

#[test]
fn a_clock_that_runs_backwards_measures_no_time() {
    let mut timer = Timer::new(100);
    timer.pause(50);
    assert_eq!((timer.total(), timer.elapsed(0)), (0, 0));
}

#[test]
fn a_closure_is_a_clock() {
    let mut ticks = 40;
    let mut clock = || {
        ticks += 2;
        ticks
    };
    assert_eq!([Clock::now(&mut clock), Clock::now(&mut clock)], [42_u64, 44]);
}
