//! The effects of complete and interrupted operations on the cells of a flash.

use super::Chip;
use crate::test_support::interruption::Interruption;
use crate::test_support::random::Random;

impl Chip {
    /// Returns the content that the granule at `at` has after `data` is programmed. Programming changes bits only away
    /// from their erased value.
    fn programmed(&self, at: usize, data: &[u8]) -> Vec<u8> {
        let program = |(cell, byte): (&u8, &u8)| if self.erased == 0 { cell | byte } else { cell & byte };
        self.bytes[at..][..self.write_size].iter().zip(data).map(program).collect()
    }

    pub(super) fn program_granule(&mut self, at: usize, data: &[u8]) {
        for (cell, byte) in self.bytes[at..][..self.write_size].iter_mut().zip(data) {
            *cell = if self.erased == 0 { *cell | byte } else { *cell & byte };
        }
    }

    /// Simulates a power failure during the programming of the granule at `at`. `data` is the data for this granule and
    /// for the later granules of the same call.
    pub(super) fn interrupt_program(
        &mut self,
        at: usize,
        data: &[u8],
        interruption: Interruption,
        random: &mut Random,
    ) {
        let complete = self.programmed(at, &data[..self.write_size]);
        self.is_programmable[at / self.write_size] = false;
        let cells = &mut self.bytes[at..][..self.write_size];
        let prefix = |len: usize, cells: &mut [u8]| cells[..len].copy_from_slice(&complete[..len]);
        match interruption {
            Interruption::First => prefix(1, cells),
            Interruption::Half => prefix(self.write_size / 2, cells),
            Interruption::ButOne => prefix(self.write_size - 1, cells),
            Interruption::Bits => {
                for (cell, complete) in cells.iter_mut().zip(&complete) {
                    *cell ^= (*cell ^ complete) & random.byte();
                }
            }
            Interruption::Garbage => cells.fill_with(|| random.byte()),
            Interruption::Whole | Interruption::Unstable | Interruption::OneUnstable | Interruption::Unreadable => {
                let changed: Vec<u8> = cells.iter().zip(&complete).map(|(cell, complete)| cell ^ complete).collect();
                cells.copy_from_slice(&complete);
                match interruption {
                    Interruption::Unstable => {
                        let masks = changed.iter().enumerate().map(|(byte, bits)| (at + byte, bits & random.byte()));
                        self.unstable.extend(masks.filter(|(_, mask)| *mask != 0));
                    }
                    Interruption::OneUnstable => {
                        let start = random.below(8 * self.write_size);
                        let mut bits = (0..8 * self.write_size).map(|bit| (start + bit) % (8 * self.write_size));
                        if let Some(bit) = bits.find(|bit| changed[bit / 8] >> (bit % 8) & 1 != 0) {
                            self.unstable.push((at + bit / 8, 1 << (bit % 8)));
                        }
                    }
                    Interruption::Unreadable => self.unreadable.push(at / self.write_size),
                    _ => (),
                }
            }
            Interruption::Scatter => {
                self.bytes[at..][..self.write_size].fill_with(|| random.byte());
                // A real chip can program the granules of a page in any order, so later granules can also be changed.
                for (granule, data) in data.chunks(self.write_size).enumerate().skip(1) {
                    let at = at + granule * self.write_size;
                    self.is_programmable[at / self.write_size] = false;
                    match random.below(3) {
                        0 => self.program_granule(at, data),
                        1 => self.bytes[at..][..self.write_size].fill_with(|| random.byte()),
                        _ => (),
                    }
                }
            }
            _ => (),
        }
    }

    /// Simulates a power failure during the erase of the block at `at`.
    pub(super) fn interrupt_erase(&mut self, at: usize, interruption: Interruption, random: &mut Random) {
        self.is_programmable[at / self.write_size..][..self.erase_size / self.write_size].fill(false);
        let erased = self.erased;
        let split = 1 + random.below(self.erase_size - 1);
        let old = self.bytes[at..][..self.erase_size].to_vec();
        let block = &mut self.bytes[at..][..self.erase_size];
        match interruption {
            Interruption::Whole | Interruption::Unstable => block.fill(erased),
            Interruption::Zero => block.fill(0),
            Interruption::One => block.fill(0xFF),
            Interruption::Garbage => block.fill_with(|| random.byte()),
            Interruption::TailZero => block[self.erase_size / 2..].fill(0),
            Interruption::TailZeroAnywhere => block[split..].fill(0),
            Interruption::HeadErased => block[..split].fill(erased),
            Interruption::TailErased => block[split..].fill(erased),
            Interruption::Bits => block.iter_mut().for_each(|cell| *cell ^= (*cell ^ erased) & random.byte()),
            Interruption::AlmostErased => {
                for _ in 0..4 {
                    let bit = random.below(8 * self.erase_size);
                    block[bit / 8] ^= (block[bit / 8] ^ erased) & (1 << (bit % 8));
                }
            }
            _ => (),
        }
        match interruption {
            // The block is erased, but the interruption makes many of the previously programmed bits unstable: each
            // read returns a random value for them.
            Interruption::Unstable => {
                let masks = old.iter().enumerate().map(|(byte, old)| (at + byte, (old ^ erased) & random.byte()));
                self.unstable.extend(masks.filter(|(_, mask)| *mask != 0));
            }
            Interruption::OneUnstable => {
                let start = random.below(self.erase_size);
                let programmed =
                    (0..self.erase_size).map(|byte| (start + byte) % self.erase_size).find(|byte| old[*byte] != erased);
                if let Some(byte) = programmed {
                    let bits = old[byte] ^ erased;
                    self.unstable.push((at + byte, bits & bits.wrapping_neg()));
                }
            }
            Interruption::Unreadable => {
                self.unreadable.extend(at / self.write_size..(at + self.erase_size) / self.write_size)
            }
            Interruption::OneUnreadable => self.unreadable.push((at + split) / self.write_size),
            _ => (),
        }
    }
}
