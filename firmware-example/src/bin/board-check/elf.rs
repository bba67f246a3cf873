//! What a board's program is made of: its sections, and the stack frames of its functions.

use crate::Done;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Prints code, constants, data and zeroed data, without the memory that is left for the stack.
pub fn sizes(path: &Path) -> Done {
    let bytes = fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    let size = |prefix: &str| -> u64 {
        let mine = |name: &str| name == prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        elf.sections().filter(|section| section.name().is_ok_and(mine)).map(|section| section.size()).sum()
    };
    println!("{} {} {} {}", size(".text"), size(".rodata"), size(".data"), size(".bss"));
    Ok(())
}

/// Prints the largest frames.
pub fn frames(path: &Path) -> Done {
    let bytes = fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    let section = elf.section_by_name(".stack_sizes").ok_or("not built with -Z emit-stack-sizes")?;
    let mut names = BTreeMap::new();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        // The lowest bit of a Thumb function's address is not part of it.
        names.insert(symbol.address() & !1, symbol.name()?);
    }
    let mut frames = Vec::new();
    let mut rest = section.data()?;
    while let Some((address, tail)) = rest.split_first_chunk::<4>() {
        let mut size = 0_u64;
        let mut shift = 0;
        rest = tail;
        while let Some((byte, tail)) = rest.split_first() {
            rest = tail;
            size |= u64::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let address = u64::from(u32::from_le_bytes(*address)) & !1;
        let name = names.get(&address).map_or(String::new(), |name| format!("{:#}", rustc_demangle::demangle(name)));
        frames.push((size, name));
    }
    frames.sort();
    frames.dedup();
    for (size, name) in frames.iter().rev().filter(|(_, name)| name.contains("training_monitor")).take(8) {
        println!("{size:5}  {}", name.chars().take(110).collect::<String>());
    }
    Ok(())
}

/// Prints defmt's table: address, size and name of each of its symbols. The desktop tool's tests make a program of it
/// again, to read a board's log without a compiler for boards.
pub fn table(path: &Path) -> Done {
    let bytes = fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    let section = elf.section_by_name(".defmt").ok_or("the program has no log")?.index();
    let mut lines = BTreeMap::new();
    for symbol in elf.symbols().filter(|symbol| symbol.section_index() == Some(section)) {
        let name = symbol.name()?;
        if name.starts_with('{') || name.starts_with("_defmt_") {
            lines.insert(symbol.address(), format!("{} {} {name}", symbol.address(), symbol.size()));
        }
    }
    lines.values().for_each(|line| println!("{line}"));
    Ok(())
}
