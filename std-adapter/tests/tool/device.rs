//! The example firmware's log as it comes: `train.frames` is what it sent in an emulator, `train.defmt` the table in its
//! program; `firmware-example/check --accept` writes both. Of the table a program is made here that has nothing else in it.

#![allow(dead_code)] // Each test uses a part of it.

use object::write::{Object, StandardSegment, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

pub const FRAMES: &[u8] = include_bytes!("../device/train.frames");
pub const TABLE: &str = include_str!("../device/train.defmt");

/// A program with this table and no code.
pub fn program(table: &str) -> Vec<u8> {
    let mut elf = Object::new(BinaryFormat::Elf, Architecture::Arm, Endianness::Little);
    let section = elf.add_section(
        elf.segment_name(StandardSegment::Data).to_vec(),
        b".defmt".to_vec(),
        SectionKind::ReadOnlyData,
    );
    elf.append_section_data(section, &[0; 64], 1);
    for line in table.lines() {
        let mut parts = line.splitn(3, ' ');
        let mut number = || parts.next().unwrap().parse().unwrap();
        let (value, size) = (number(), number());
        elf.add_symbol(Symbol {
            name: parts.next().unwrap().as_bytes().to_vec(),
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
