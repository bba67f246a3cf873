//! Gives the linker the memory map of the board and the scripts of its runtime. On a host it does nothing.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET")?;
    let map = match target.split('-').next() {
        _ if env::var("CARGO_CFG_TARGET_OS")? != "none" => return Ok(()),
        Some("thumbv7em") => "memory/m4f.x",
        Some("thumbv6m") => "memory/m0.x",
        Some("riscv32imc") => "memory/rv32.x",
        _ => return Err(format!("no board for {target}: add its memory map to memory/").into()),
    };
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::copy(map, out.join("memory.x"))?;
    println!("cargo::rerun-if-changed={map}");
    println!("cargo::rustc-link-search={}", out.display());
    if target.starts_with("riscv") {
        // cortex-m-rt's link.x includes memory.x by itself, riscv-rt's needs it before.
        println!("cargo::rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    // Sections need no alignment to pages of 4 KiB in flash.
    println!("cargo::rustc-link-arg-bins=--nmagic");
    // Only programs that log have what this script asks for.
    for program in ["train", "count", "own-loop", "tasks", "size"] {
        println!("cargo::rustc-link-arg-bin={program}=-Tdefmt.x");
    }
    // Where the program is to show that nothing panics, defmt's own panic must not be kept for its name's sake.
    fs::copy("memory/no-panic.x", out.join("no-panic.x"))?;
    println!("cargo::rerun-if-changed=memory/no-panic.x");
    println!("cargo::rustc-link-arg-bin=no-panic=-Tno-panic.x");
    Ok(())
}
