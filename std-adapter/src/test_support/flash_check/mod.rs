//! The check of a flash driver.

mod violation;

pub use violation::{FlashRule, FlashViolation, WrongByte};

use super::driver::Access;
use core::ops::Range;
use training_monitor::embedded_storage::nor_flash::{NorFlash, NorFlashError};

/// The largest read unit and write granule that `Slots` supports.
const MAX_UNIT: usize = 32;
/// The longest write and the longest read of the check, in bytes. It is longer than the pages of a serial flash, which
/// usually have 256 bytes.
const BUFFER: usize = 512;

/// Checks a flash driver for everything on which the store [`Slots`](training_monitor::store::flash::Slots) relies. All
/// data in `region` is lost, and the region is erased at the end. The region must consist of at least two whole erase
/// blocks; three blocks are better, because the middle one then has two neighbours. The check erases each block five
/// times. It allocates no memory and needs less than 2 KiB of stack.
///
/// The check covers:
///
/// * The sizes: `READ_SIZE`, `WRITE_SIZE`, `ERASE_SIZE` and the capacity.
/// * Each write granule of each block is programmed alone, in an order with gaps. No other granule changes.
/// * Writes of several granules, which start at any granule and cross boundaries of pages and blocks.
/// * Reads of one read unit at each multiple of `READ_SIZE`, and longer reads that cross boundaries of blocks.
/// * Each block is erased alone, and its neighbours do not change. All blocks are erased in one call.
/// * Unaligned calls and reads beyond the capacity are errors, as the traits of `embedded-storage` require.
///
/// Buffers are aligned to 4 bytes, as those of `Slots` are. If `WRITE_SIZE` is not a multiple of 4, `Slots` also writes
/// from unaligned buffers, and so does the check.
///
/// The check does not read erased bytes, because their value is not defined for encrypted flash, and because some
/// flashes return an error for them. It programs each granule once after an erase. It does not write or erase beyond the
/// capacity: a driver without bounds checks could destroy a program outside the region. `Slots` never makes such calls.
/// Zero-length calls are not checked either.
///
/// # Errors
/// Returns the first violation.
///
/// ```
/// use training_monitor_std::test_support::{check_nor_flash, flash::Flash};
///
/// let mut flash = Flash::<4, 256, 4>::new(2048, 0xFF); // replace this by your driver
/// check_nor_flash(&mut flash, 1024..1792)?;
/// # Ok::<(), training_monitor_std::test_support::FlashViolation>(())
/// ```
pub fn check_nor_flash<F: NorFlash>(flash: &mut F, region: Range<u32>) -> Result<(), FlashViolation> {
    check_geometry(flash, &region)?;
    let mut check = FlashCheck { flash, region, unit: F::WRITE_SIZE.max(F::READ_SIZE) as u32 };
    check.check_granules()?;
    check.check_blocks()?;
    check.check_long_calls()?;
    check.check_unaligned()?;
    check.check_out_of_bounds()?;
    check.erase(check.region.start, check.region.end)
}

type Check = Result<(), FlashViolation>;

/// A buffer that is aligned to 4 bytes.
#[repr(align(4))]
struct Aligned([u8; BUFFER]);

struct FlashCheck<'f, F> {
    flash: &'f mut F,
    region: Range<u32>,
    /// The unit of writes: the larger one of the write granule and the read unit.
    unit: u32,
}

fn violation(rule: FlashRule, access: Access) -> FlashViolation {
    FlashViolation { rule, access: Some(access), error: None, wrong_byte: None }
}

fn check_geometry<F: NorFlash>(flash: &F, region: &Range<u32>) -> Check {
    let fails = |rule| Err(FlashViolation { rule, access: None, error: None, wrong_byte: None });
    let (read, write, erase) = (F::READ_SIZE, F::WRITE_SIZE, F::ERASE_SIZE);
    let divides = |divisor: usize, size: usize| divisor > 0 && size.is_multiple_of(divisor);
    let unit = write.max(read);
    if !divides(write, MAX_UNIT) || !divides(read, MAX_UNIT) || !divides(unit, erase) || erase == 0 {
        return fails(FlashRule::Geometry);
    }
    if !divides(erase, flash.capacity()) {
        return fails(FlashRule::Geometry);
    }
    let (start, end) = (region.start as usize, region.end as usize);
    let is_valid = start < end && end <= flash.capacity() && divides(erase, start) && divides(erase, end);
    if is_valid && end - start >= 2 * erase { Ok(()) } else { fails(FlashRule::Region) }
}

/// Returns the byte that the check programs at an address. Each round has unrelated bytes, so that a block that was not
/// erased cannot contain them.
fn pattern(address: u32, round: u32) -> u8 {
    let mut bits = address.wrapping_mul(0x9E37_79B1) ^ round.wrapping_mul(0x85EB_CA6B);
    bits = (bits ^ bits >> 15).wrapping_mul(0x2C1B_3C6D);
    bits = (bits ^ bits >> 12).wrapping_mul(0x297A_2D39);
    (bits >> 24) as u8
}

impl<F: NorFlash> FlashCheck<'_, F> {
    fn block_size() -> u32 {
        F::ERASE_SIZE as u32
    }

    fn erase(&mut self, from: u32, to: u32) -> Check {
        self.flash.erase(from, to).map_err(|error| {
            let access = Access::Erase { from, to };
            FlashViolation { error: Some(error.kind()), ..violation(FlashRule::Succeeds, access) }
        })
    }

    /// Programs `len` bytes, at most the size of the buffer.
    fn program(&mut self, at: u32, len: u32, round: u32) -> Check {
        let mut buffer = Aligned([0; BUFFER]);
        // A driver with granules of 1 or 2 bytes must accept a buffer at any address.
        let offset = usize::from(!F::WRITE_SIZE.is_multiple_of(4) && round.is_multiple_of(2));
        let bytes = buffer.0.get_mut(offset..offset + len as usize).unwrap_or_default();
        bytes.iter_mut().zip(at..).for_each(|(byte, address)| *byte = pattern(address, round));
        self.flash.write(at, bytes).map_err(|error| {
            let access = Access::Write { at, len: bytes.len() };
            FlashViolation { error: Some(error.kind()), ..violation(FlashRule::Succeeds, access) }
        })
    }

    /// Reads `len` bytes, at most the size of the buffer, and compares them with the pattern.
    fn verify_read(&mut self, at: u32, len: u32, round: u32, rule: FlashRule) -> Check {
        let access = Access::Read { at, len: len as usize };
        let mut buffer = Aligned([0; BUFFER]);
        // A driver that reads nothing must not find the expected bytes in the buffer.
        buffer.0.iter_mut().zip(at..).for_each(|(byte, address)| *byte = !pattern(address, round));
        let bytes = buffer.0.get_mut(..len as usize).unwrap_or_default();
        self.flash
            .read(at, bytes)
            .map_err(|error| FlashViolation { error: Some(error.kind()), ..violation(FlashRule::Succeeds, access) })?;
        let wrong = bytes.iter().zip(at..).find(|(byte, address)| **byte != pattern(*address, round));
        match wrong {
            None => Ok(()),
            Some((found, address)) => {
                let wrong_byte = WrongByte { address, expected: pattern(address, round), found: *found };
                Err(FlashViolation { wrong_byte: Some(wrong_byte), ..violation(rule, access) })
            }
        }
    }

    /// Reads the bytes `range` in reads of several lengths. `lengths` are numbers of read units.
    fn verify(&mut self, range: Range<u32>, lengths: &[u32], round: u32, rule: FlashRule) -> Check {
        let mut at = range.start;
        let mut lengths = lengths.iter().cycle();
        while at < range.end {
            let len = (lengths.next().unwrap_or(&1) * F::READ_SIZE as u32).min(range.end - at);
            self.verify_read(at, len, round, rule)?;
            at += len;
        }
        Ok(())
    }

    /// Returns the blocks of the region.
    fn blocks(&self) -> impl Iterator<Item = Range<u32>> + use<F> {
        self.region.clone().step_by(F::ERASE_SIZE).map(|start| start..start + Self::block_size())
    }

    /// Programs each granule of each block alone: first the even ones, then the odd ones in descending order.
    fn check_granules(&mut self) -> Check {
        const ROUND: u32 = 1;
        let unit = self.unit;
        for block in self.blocks() {
            self.erase(block.start, block.end)?;
            let units = Self::block_size() / unit;
            for index in (0..units).step_by(2) {
                let at = block.start + index * unit;
                self.program(at, unit, ROUND)?;
                self.verify(at..at + unit, &[1], ROUND, FlashRule::ReadsBack)?;
            }
            for index in (0..units).rev().filter(|index| index % 2 == 1) {
                let at = block.start + index * unit;
                self.program(at, unit, ROUND)?;
                self.verify(at..at + unit, &[1], ROUND, FlashRule::ProgramsOneGranule)?;
            }
            self.verify(block, &[1], ROUND, FlashRule::ProgramsOneGranule)?;
        }
        self.verify(self.region.clone(), &[1], ROUND, FlashRule::DistinctAddresses)
    }

    /// Erases each block alone, and programs it: first in single granules, then in pieces of several lengths.
    fn check_blocks(&mut self) -> Check {
        let rounds: [(u32, &[u32], FlashRule); 2] =
            [(2, &[1], FlashRule::Erases), (3, &[1, 2, 5, 3], FlashRule::ReadsBack)];
        for (round, lengths, rule) in rounds {
            for block in self.blocks() {
                self.erase(block.start, block.end)?;
                // The block before already has the bytes of this round, the block after those of the last one.
                let previous = block.start.saturating_sub(Self::block_size()).max(self.region.start)..block.start;
                let next = block.end..block.end.saturating_add(Self::block_size()).min(self.region.end);
                self.verify(previous, &[3, 1], round, FlashRule::ErasesOneBlock)?;
                self.verify(next, &[3, 1], round - 1, FlashRule::ErasesOneBlock)?;
                self.program_pieces(block.clone(), lengths, round)?;
                self.verify(block, &[2, 1, 7], round, rule)?;
            }
            self.verify(self.region.clone(), &[1], round, FlashRule::DistinctAddresses)?;
        }
        Ok(())
    }

    /// Programs the bytes `range` in writes of several lengths. `lengths` are numbers of units.
    fn program_pieces(&mut self, range: Range<u32>, lengths: &[u32], round: u32) -> Check {
        let mut at = range.start;
        let mut lengths = lengths.iter().cycle();
        let longest = BUFFER as u32 - MAX_UNIT as u32;
        while at < range.end {
            let len = (lengths.next().unwrap_or(&1) * self.unit).min(longest).min(range.end - at);
            self.program(at, len, round)?;
            at += len;
        }
        Ok(())
    }

    /// Erases the whole region at once. Then the writes and the reads cross the boundaries of pages and blocks.
    fn check_long_calls(&mut self) -> Check {
        const ROUND: u32 = 4;
        let region = self.region.clone();
        self.erase(region.start, region.end)?;
        let longest = (BUFFER - MAX_UNIT) as u32;
        // The first write shifts all later ones against the boundaries.
        self.program(region.start, self.unit, ROUND)?;
        self.program_pieces(region.start + self.unit..region.end, &[longest / self.unit], ROUND)?;
        let read = F::READ_SIZE as u32;
        self.verify(region.clone(), &[1], ROUND, FlashRule::ReadsBack)?;
        self.verify_read(region.start, read, ROUND, FlashRule::ReadsBack)?;
        self.verify(region.start + read..region.end, &[longest / read], ROUND, FlashRule::ReadsBack)?;
        // A read at each position, with several lengths.
        for at in (region.start..region.end).step_by(F::READ_SIZE) {
            let units = 2 + at / read % 5;
            self.verify_read(at, (units * read).min(region.end - at), ROUND, FlashRule::ReadsBack)?;
        }
        Ok(())
    }

    /// Makes unaligned calls inside the region. They must fail and change nothing.
    fn check_unaligned(&mut self) -> Check {
        const ROUND: u32 = 4;
        let start = self.region.start;
        let mut buffer = Aligned([0; BUFFER]);
        let mut accepted = None;
        let mut check = |access, result: Result<(), F::Error>| {
            if result.is_ok() && accepted.is_none() {
                accepted = Some(violation(FlashRule::RefusesUnaligned, access));
            }
        };
        for (offset, less) in [(1, 0), (0, 1)] {
            if F::READ_SIZE > 1 {
                let (at, len) = (start + offset, F::READ_SIZE - less);
                let bytes = buffer.0.get_mut(..len).unwrap_or_default();
                check(Access::Read { at, len }, self.flash.read(at, bytes));
            }
            if F::WRITE_SIZE > 1 {
                let (at, len) = (start + offset, F::WRITE_SIZE - less);
                let bytes = buffer.0.get(..len).unwrap_or_default();
                check(Access::Write { at, len }, self.flash.write(at, bytes));
            }
            if F::ERASE_SIZE > 1 {
                let (from, to) = (start + offset, start + offset + (F::ERASE_SIZE - less) as u32);
                check(Access::Erase { from, to }, self.flash.erase(from, to));
            }
        }
        match accepted {
            Some(violation) => Err(violation),
            None => self.verify(self.region.clone(), &[4], ROUND, FlashRule::RefusesUnaligned),
        }
    }

    /// Reads beyond the capacity.
    fn check_out_of_bounds(&mut self) -> Check {
        let Ok(capacity) = u32::try_from(self.flash.capacity()) else { return Ok(()) };
        let unit = F::READ_SIZE;
        let mut buffer = Aligned([0; BUFFER]);
        for (at, len) in [(capacity, unit), (capacity - unit as u32, 2 * unit)] {
            let bytes = buffer.0.get_mut(..len).unwrap_or_default();
            if self.flash.read(at, bytes).is_ok() {
                return Err(violation(FlashRule::RefusesOutOfBounds, Access::Read { at, len }));
            }
        }
        Ok(())
    }
}
