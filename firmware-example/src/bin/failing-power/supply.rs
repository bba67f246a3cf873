//! The power supply, the clock and the flash of the program `failing-power`.

use crate::board::{self, BOARD, Console, Flash};
use core::cell::Cell;
use core::fmt::Write;
use digits_workload::random::Pcg32;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use semihosting::fd::AsFd;
use semihosting::sys::arm_compat::{OpenMode, sys_open, sys_read_orig, sys_write_orig};

/// The exit code of the program after a power failure.
pub const POWER_FAILED: i32 = 75;

/// The mean time between two failures, in microseconds. The times are exponentially distributed.
const MEAN_ON_TIME: f32 = 10e6;

/// The time between a failure and the next start, in microseconds.
const OFF_TIME: u64 = 1_000_000;

/// The times of an erase and of the program of a granule, in microseconds: those of an STM32L4, those of an nRF52840 for a
/// block of 1 KiB, and those of an STM32F4 for a block of 256 KiB.
const FLASH_TIMES: (u64, u64) = match BOARD.erase_size {
    0x800 => (22_000, 82),
    0x400 => (21_250, 41),
    _ => (2_000_000, 16),
};

/// The simulated device. All times are in microseconds.
pub struct Device {
    /// What the file `supply` contains.
    totals: Cell<Totals>,
    /// When the power fails.
    end: u64,
    /// The time when the last iteration ended. `None` before the first one.
    last_iteration: Cell<Option<u64>>,
}

/// The state of the supply, and what all starts together have done.
#[derive(Clone, Copy, Default)]
struct Totals {
    /// The clock, which continues while the power is off.
    clock: u64,
    failures: u64,
    /// The executed iterations.
    iterations: u64,
    erased_blocks: u64,
    /// The time of flash operations, complete or interrupted.
    flash_time: u64,
    /// The time without power.
    off_time: u64,
    /// The longest time between two iterations.
    longest_pause: u64,
}

impl Device {
    /// Reads the state of the supply and starts the clock.
    pub fn start() -> Device {
        let found = Totals::read();
        let totals = found.unwrap_or_default();
        let mut random = Pcg32::new(totals.failures);
        // From 1 to 2^24, so that the logarithm is finite.
        let share = ((random.next_u32() >> 8) + 1) as f32 / (1 << 24) as f32;
        let on_time = (-libm::logf(share) * MEAN_ON_TIME) as u64;
        let end = if found.is_some() { totals.clock.saturating_add(on_time) } else { u64::MAX };
        Device { totals: Cell::new(totals), end, last_iteration: Cell::new(None) }
    }

    /// Returns the time of the clock.
    pub fn now(&self) -> u64 {
        self.totals.get().clock
    }

    fn update(&self, change: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals.get();
        change(&mut totals);
        self.totals.set(totals);
    }

    /// Advances the clock. If the power fails meanwhile, the program ends.
    fn spend(&self, time: u64) {
        let now = self.now();
        if self.end.saturating_sub(now) >= time {
            return self.update(|totals| totals.clock = now.saturating_add(time));
        }
        self.update(|totals| {
            totals.clock = self.end.saturating_add(OFF_TIME);
            totals.failures = totals.failures.saturating_add(1);
            totals.off_time = totals.off_time.saturating_add(OFF_TIME);
        });
        self.totals.get().write();
        board::exit(POWER_FAILED)
    }

    /// Performs a flash operation that takes `time`.
    fn spend_on_flash(&self, time: u64) {
        let spent = time.min(self.end.saturating_sub(self.now()));
        self.update(|totals| totals.flash_time = totals.flash_time.saturating_add(spent));
        self.spend(time);
    }

    /// Measures the time since the last iteration.
    pub fn begin_iteration(&self) {
        let pause = self.last_iteration.get().map_or(0, |end| self.now().saturating_sub(end));
        self.update(|totals| totals.longest_pause = totals.longest_pause.max(pause));
    }

    /// Lets an iteration take `time`.
    pub fn end_iteration(&self, time: u64) {
        self.spend(time);
        self.update(|totals| totals.iterations = totals.iterations.saturating_add(1));
        self.last_iteration.set(Some(self.now()));
    }

    /// Prints what all starts together have done. `useful` is the number of iterations of the run.
    pub fn report(&self, useful: u32) {
        let Totals { clock, failures, iterations, erased_blocks, flash_time, off_time, longest_pause } =
            self.totals.get();
        let permille = |part: u64, whole: u64| part.saturating_mul(1000).checked_div(whole).unwrap_or(0);
        let on_time = clock.saturating_sub(off_time);
        let _ = writeln!(
            Console,
            "{failures} failures in {} s with power: {useful} of {iterations} iterations are useful ({} permille)",
            on_time / 1_000_000,
            permille(u64::from(useful), iterations),
        );
        let _ = writeln!(
            Console,
            "flash: {} permille of the time, {erased_blocks} erased blocks, longest pause {} ms",
            permille(flash_time, on_time),
            longest_pause / 1000,
        );
    }
}

impl Totals {
    /// Reads the file `supply`. Returns `None` if it does not exist.
    fn read() -> Option<Totals> {
        let file = sys_open(c"supply", OpenMode::RDONLY_BINARY).ok()?;
        let mut bytes = [0; 56];
        sys_read_orig(file.as_fd(), &mut bytes).ok()?;
        let mut numbers = bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || numbers.next().unwrap_or(0);
        Some(Totals {
            clock: next(),
            failures: next(),
            iterations: next(),
            erased_blocks: next(),
            flash_time: next(),
            off_time: next(),
            longest_pause: next(),
        })
    }

    fn write(self) {
        let Totals { clock, failures, iterations, erased_blocks, flash_time, off_time, longest_pause } = self;
        let numbers = [clock, failures, iterations, erased_blocks, flash_time, off_time, longest_pause];
        if let Ok(file) = sys_open(c"supply", OpenMode::WRONLY_TRUNC_BINARY) {
            for number in numbers {
                let _ = sys_write_orig(file.as_fd(), &number.to_le_bytes());
            }
        }
    }
}

/// The flash of the board, whose operations take time.
pub struct TimedFlash<'a> {
    flash: Flash,
    device: &'a Device,
}

impl<'a> TimedFlash<'a> {
    pub const fn new(flash: Flash, device: &'a Device) -> Self {
        Self { flash, device }
    }
}

impl ErrorType for TimedFlash<'_> {
    type Error = <Flash as ErrorType>::Error;
}

impl ReadNorFlash for TimedFlash<'_> {
    const READ_SIZE: usize = Flash::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.flash.read(offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl NorFlash for TimedFlash<'_> {
    const WRITE_SIZE: usize = Flash::WRITE_SIZE;
    const ERASE_SIZE: usize = Flash::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        for block in (from..to).step_by(Self::ERASE_SIZE) {
            self.device.spend_on_flash(FLASH_TIMES.0);
            self.device.update(|totals| totals.erased_blocks = totals.erased_blocks.saturating_add(1));
            self.flash.erase(block, block.saturating_add(Self::ERASE_SIZE as u32))?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        for (granule, at) in bytes.chunks(Self::WRITE_SIZE).zip((offset..).step_by(Self::WRITE_SIZE)) {
            self.device.spend_on_flash(FLASH_TIMES.1);
            self.flash.write(at, granule)?;
        }
        Ok(())
    }
}
