//! The log of the example firmware in defmt's encoding, and a program to decode it with.
//!
//! `train.frames` is the output of the firmware in an emulator. `train.defmt` is the symbol table of its section
//! `.defmt`. `firmware-example/check --accept` writes both files. The tests build an ELF file from the symbol table, so
//! that the repository does not contain the binary of the firmware.

#![allow(dead_code)] // Each test crate uses a different part of this module.

use object::write::{Object, StandardSegment, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

pub const FRAMES: &[u8] = include_bytes!("../device/train.frames");
pub const SYMBOLS: &str = include_str!("../device/train.defmt");

/// An ELF file with these symbols in its section `.defmt`, and without code. Each line of `symbols` is value, size and
/// name.
pub fn program(symbols: &str) -> Vec<u8> {
    let mut elf = Object::new(BinaryFormat::Elf, Architecture::Arm, Endianness::Little);
    let section = elf.add_section(
        elf.segment_name(StandardSegment::Data).to_vec(),
        b".defmt".to_vec(),
        SectionKind::ReadOnlyData,
    );
    elf.append_section_data(section, &[0; 64], 1);
    for line in symbols.lines() {
        let mut columns = line.splitn(3, ' ');
        let mut number = || columns.next().unwrap().parse().unwrap();
        let (value, size) = (number(), number());
        elf.add_symbol(Symbol {
            name: columns.next().unwrap().as_bytes().to_vec(),
            value,
            size,
            kind: SymbolKind::Data,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
    }
    elf.write().unwrap()
}
