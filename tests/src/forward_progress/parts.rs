//! The simulated memories: their sizes, their times from data sheets, and the slots for checkpoints.
//!
//! All times are typical values. A data sheet states them at 25 °C for a new part; worn or cold flash is slower.
//!
//! | part | erase of a block | programming | endurance | source |
//! | --- | --- | --- | --- | --- |
//! | nRF52840 | 4 KiB: 85 ms | word of 4 B: 41 µs | 10 000 | Nordic, nRF52840 Product Specification v1.11, chapter NVMC: `tERASEPAGE`, `tWRITE`, `nEND` |
//! | STM32L476 | 2 KiB: 22 ms | 8 B: 82 µs | 10 000 | ST, data sheet DS10198, table "Flash memory characteristics": `tERASE`, `tprog`; `NEND` |
//! | STM32F407 | 128 KiB: 1 s | word of 4 B: 16 µs | 10 000 | ST, data sheet DS8626, table "Flash memory programming", parallelism x32: `tERASE128KB`, `tprog`; `NEND` |
//! | RP2040 with W25Q16JV | 4 KiB: 45 ms | page of 256 B: 0.4 ms | 100 000 | Winbond, data sheet W25Q16JV, "AC electrical characteristics": `tSE`, `tPP` |
//! | W25Q16JV on SPI at 8 MHz | as above | as above, and 1 µs/B on the bus | 100 000 | as above |
//! | FM25V10 (FRAM) on SPI at 16 MHz | none | 0.5 µs/B on the bus | 10¹⁴ | Ramtron/Infineon, data sheet FM25V10: writes without delay, endurance |
//!
//! A page program takes the full time also if it programs only a part of the page. The driver of a W25Q16JV programs
//! multiples of 32 bytes; the FRAM is simulated with units of 32 bytes. Both only make the simulation faster.
//!
//! Each byte that is written or read also costs the CPU time of the checksum with the 64-byte table: 10 to 15
//! instructions (docs/costs.md), at one instruction per cycle and the clock of the part.

use super::time::{DAY, MICROSECOND, MILLISECOND, Nanos, SECOND, YEAR};

/// The memories that are simulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The internal flash of an nRF52840, at 64 MHz.
    Nrf52840,
    /// The internal flash of an STM32L476, at 80 MHz.
    Stm32L4,
    /// Large sectors of the internal flash of an STM32F407, at 168 MHz.
    Stm32F4,
    /// The flash from which an RP2040 executes, at 125 MHz. The CPU waits while the flash is busy.
    Rp2040,
    /// A W25Q16JV on an SPI bus with 8 MHz.
    SpiNor,
    /// An FM25V10 on an SPI bus with 16 MHz.
    Fram,
}

/// The times of a memory.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The time to erase a block.
    pub erase: Nanos,
    /// The number of bytes that one program operation of the chip programs, and its time. 0 bytes: the memory writes at the
    /// speed of the bus.
    pub program: (usize, Nanos),
    /// The time of a byte on the bus.
    pub bus_byte: Nanos,
    /// The time of a call on the bus: command and address.
    pub bus_call: Nanos,
    /// The CPU time of the checksum of a byte.
    pub checksum_byte: Nanos,
}

impl Timing {
    /// Returns the time of a write of `len` bytes at `address`, including their checksum.
    #[must_use]
    pub fn write(&self, address: usize, len: usize) -> Nanos {
        let (unit, time) = self.program;
        let units = if unit == 0 || len == 0 { 0 } else { (address + len - 1) / unit - address / unit + 1 };
        units as Nanos * time + self.transfer(len)
    }

    /// Returns the time of a read of `len` bytes, including their checksum.
    #[must_use]
    pub fn transfer(&self, len: usize) -> Nanos {
        self.bus_call + len as Nanos * (self.bus_byte + self.checksum_byte)
    }
}

/// A simulated memory and its slots for checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Which memory it is.
    pub kind: Kind,
    /// The name in the output.
    pub name: &'static str,
    /// The size of a write granule and of an erase block in bytes. Equal sizes: byte-addressable memory.
    pub geometry: (usize, usize),
    /// The number of slots. All but one are there for the wear, because the run keeps one checkpoint.
    pub slots: usize,
    /// The size of a slot in bytes.
    pub slot_size: usize,
    /// The times.
    pub timing: Timing,
    /// How often a slot can be erased. `None` if it does not wear out in practice.
    pub endurance: Option<u32>,
}

impl Part {
    /// Returns the number of erase blocks of a slot.
    #[must_use]
    pub const fn blocks_per_slot(&self) -> usize {
        self.slot_size / self.geometry.1
    }

    /// Returns the size of the region with all slots, in bytes.
    #[must_use]
    pub const fn region(&self) -> usize {
        self.slots * self.slot_size
    }

    /// Returns the wear budget for a required lifetime. `None` if the memory does not wear out.
    #[must_use]
    pub fn budget(&self, lifetime: Nanos) -> Option<Budget> {
        let erases = self.endurance? * self.slots as u32;
        Some(Budget { erases, lifetime, burst: BURST.max(6 * (lifetime / u64::from(erases) + MICROSECOND)) })
    }
}

/// The time whose erases may be used in advance.
pub const BURST: Nanos = DAY;

/// The required lifetimes of the memory.
pub const LIFETIMES: [Nanos; 2] = [YEAR, 5 * YEAR];

/// The erases that a memory endures in a required lifetime. At every moment, the erases of slots are at most
/// `(elapsed + burst) · erases / lifetime`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// The erases of all slots together.
    pub erases: u32,
    /// The time for which the memory must last.
    pub lifetime: Nanos,
    /// The time whose erases may be used in advance: one day, or six erases if they take longer.
    pub burst: Nanos,
}

impl Budget {
    /// Returns the time after which one erase is permitted.
    #[must_use]
    pub fn time_per_erase(&self) -> Nanos {
        (self.lifetime / u64::from(self.erases)).div_ceil(MICROSECOND) * MICROSECOND
    }

    /// Returns the number of erases of slots that are permitted until the moment `elapsed`.
    #[must_use]
    pub fn allowed(&self, elapsed: Nanos) -> u64 {
        let erases = u128::from(elapsed + self.burst) * u128::from(self.erases) / u128::from(self.lifetime);
        erases as u64
    }
}

const KIB: usize = 1024;

const W25Q16JV: Timing =
    Timing { erase: 45 * MILLISECOND, program: (256, 400 * MICROSECOND), bus_byte: 0, bus_call: 0, checksum_byte: 120 };

/// All simulated memories.
pub const PARTS: [Part; 6] = [
    Part {
        kind: Kind::Nrf52840,
        name: "nRF52840",
        geometry: (4, 4 * KIB),
        slots: 16,
        slot_size: 12 * KIB,
        timing: Timing {
            erase: 85 * MILLISECOND,
            program: (4, 41 * MICROSECOND),
            bus_byte: 0,
            bus_call: 0,
            checksum_byte: 156,
        },
        endurance: Some(10_000),
    },
    Part {
        kind: Kind::Stm32L4,
        name: "STM32L4",
        geometry: (8, 2 * KIB),
        slots: 16,
        slot_size: 10 * KIB,
        timing: Timing {
            erase: 22 * MILLISECOND,
            program: (8, 82 * MICROSECOND),
            bus_byte: 0,
            bus_call: 0,
            checksum_byte: 125,
        },
        endurance: Some(10_000),
    },
    Part {
        kind: Kind::Stm32F4,
        name: "STM32F4",
        geometry: (4, 128 * KIB),
        slots: 4,
        slot_size: 128 * KIB,
        timing: Timing { erase: SECOND, program: (4, 16 * MICROSECOND), bus_byte: 0, bus_call: 0, checksum_byte: 60 },
        endurance: Some(10_000),
    },
    Part {
        kind: Kind::Rp2040,
        name: "RP2040",
        geometry: (32, 4 * KIB),
        slots: 4,
        slot_size: 12 * KIB,
        timing: W25Q16JV,
        endurance: Some(100_000),
    },
    Part {
        kind: Kind::SpiNor,
        name: "SPI NOR",
        geometry: (32, 4 * KIB),
        slots: 16,
        slot_size: 12 * KIB,
        timing: Timing { bus_byte: MICROSECOND, bus_call: 4 * MICROSECOND, checksum_byte: 156, ..W25Q16JV },
        endurance: Some(100_000),
    },
    Part {
        kind: Kind::Fram,
        name: "FRAM",
        geometry: (32, 32),
        slots: 2,
        slot_size: 10 * KIB,
        timing: Timing { erase: 0, program: (0, 0), bus_byte: 500, bus_call: 2500, checksum_byte: 156 },
        endurance: None,
    },
];
