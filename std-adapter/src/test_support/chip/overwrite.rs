//! Byte-addressable memory: FRAM, MRAM or EEPROM. Any bytes can be overwritten, and no erase is needed.

use super::{Chip, ChipError};
use crate::test_support::interruption::Interruption;
use crate::test_support::random::Random;

impl Chip {
    /// Creates a byte-addressable memory with the content `bytes`. `page` is the number of bytes that the memory writes
    /// as one unit: 1 for an FRAM, or the size of a page of an EEPROM.
    ///
    /// # Panics
    /// Panics if the length of `bytes` is not a multiple of `page`.
    #[must_use]
    pub fn byte_addressable(page: usize, bytes: Vec<u8>) -> Self {
        Chip { is_byte_addressable: true, ..Chip::new(page, page, 1, bytes, 0) }
    }

    /// Returns whether the chip is byte-addressable memory. Otherwise, it is NOR flash.
    #[must_use]
    pub const fn is_byte_addressable(&self) -> bool {
        self.is_byte_addressable
    }

    /// Writes `data` at the address `offset` of byte-addressable memory. Each page of which bytes are written counts as
    /// one operation.
    ///
    /// # Errors
    /// Returns a [`ChipError`] if the power is off, power fails during the call or the call exceeds the capacity.
    pub fn overwrite(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        let start = offset as usize;
        self.check(start, data.len(), 1)?;
        if data.is_empty() {
            return Ok(());
        }
        let page = self.write_size;
        let end = start + data.len();
        let first = start - start % page;
        // The memory writes whole pages, so it reads the other bytes of the first and the last page before.
        let mut pages = self.cells(first, end.next_multiple_of(page) - first);
        pages[start - first..][..data.len()].copy_from_slice(data);
        for from in (0..pages.len()).step_by(page) {
            let at = first + from;
            self.block_erases[at / page] += 1;
            if let Some((interruption, mut random)) = self.begin_operation(false) {
                self.interrupt_overwrite(at, &pages[from..], interruption, &mut random);
                return Err(ChipError::PowerOff);
            }
            self.counts.programmed += (end.min(at + page) - start.max(at)) as u64;
            self.write_page(at, &pages[from..][..page]);
        }
        Ok(())
    }

    /// Returns the values of cells. An unstable bit has a random value.
    fn cells(&mut self, at: usize, len: usize) -> Vec<u8> {
        let mut cells = self.bytes[at..][..len].to_vec();
        for (byte, mask) in &self.unstable {
            if let Some(cell) = byte.checked_sub(at).and_then(|byte| cells.get_mut(byte)) {
                *cell ^= mask & self.random.byte();
            }
        }
        cells
    }

    /// Writes a page completely. Its cells are stable and readable afterwards.
    fn write_page(&mut self, at: usize, data: &[u8]) {
        self.bytes[at..][..data.len()].copy_from_slice(data);
        self.unstable.retain(|(byte, _)| !(at..at + data.len()).contains(byte));
        self.unreadable.retain(|granule| *granule != at / self.write_size);
    }

    /// Simulates a power failure during the write of the page at `at`. `pages` is the data for this page and for the
    /// later pages of the same call.
    fn interrupt_overwrite(&mut self, at: usize, pages: &[u8], interruption: Interruption, random: &mut Random) {
        let page = self.write_size;
        let (new, old) = (&pages[..page], self.bytes[at..][..page].to_vec());
        let garbage = |random: &mut Random| (0..page).map(|_| random.byte()).collect::<Vec<u8>>();
        let prefix = |len: usize| [&new[..len], &old[len..]].concat();
        match interruption {
            Interruption::Whole => self.write_page(at, new),
            Interruption::First => self.write_page(at, &prefix(1)),
            Interruption::Half => self.write_page(at, &prefix(page / 2)),
            Interruption::ButOne => self.write_page(at, &prefix(page - 1)),
            Interruption::Zero => self.write_page(at, &vec![0; page]),
            Interruption::One => self.write_page(at, &vec![0xFF; page]),
            Interruption::Garbage => self.write_page(at, &garbage(random)),
            Interruption::Bits => {
                let mixed = new.iter().zip(&old).map(|(new, old)| old ^ ((new ^ old) & random.byte()));
                let mixed: Vec<u8> = mixed.collect();
                self.write_page(at, &mixed);
            }
            // The memory can write the bytes of a call in any order, so later pages can also be changed.
            Interruption::Scatter => {
                self.write_page(at, &garbage(random));
                for (index, data) in pages.chunks(page).enumerate().skip(1) {
                    match random.below(3) {
                        0 => self.write_page(at + index * page, data),
                        1 => self.write_page(at + index * page, &garbage(random)),
                        _ => (),
                    }
                }
            }
            Interruption::Unstable => {
                self.write_page(at, new);
                let masks = (at..at + page).map(|byte| (byte, random.byte()));
                self.unstable.extend(masks.filter(|(_, mask)| *mask != 0));
            }
            // The write was nearly complete, or it had only begun.
            Interruption::OneUnstable => {
                if random.once_in(2) {
                    self.write_page(at, new);
                }
                let bit = random.below(8 * page);
                self.unstable.push((at + bit / 8, 1 << (bit % 8)));
            }
            Interruption::Unreadable => {
                self.write_page(at, new);
                self.unreadable.push(at / page);
            }
            _ => (),
        }
    }
}
