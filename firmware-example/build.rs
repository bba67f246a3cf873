//! Passes the memory map of the board and the linker scripts of the runtime to the linker. Does nothing on a host.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET")?;
    let map = match target.split('-').next() {
        _ if env::var("CARGO_CFG_TARGET_OS")? != "none" => return Ok(()),
        Some("thumbv7em") => "memory/m4f.x",
        // The program `no-panic` is only linked. At opt-level 3, all public functions together exceed the flash of this
        // board.
        Some("thumbv6m") if env::var_os("CARGO_FEATURE_NO_PANIC").is_some() => "memory/m4f.x",
        Some("thumbv6m") => "memory/m0.x",
        Some("riscv32imc") => "memory/rv32.x",
        _ => return Err(format!("no memory map for the target {target}: add one to memory/ and select it here").into()),
    };
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::copy(map, out.join("memory.x"))?;
    println!("cargo::rerun-if-changed={map}");
    println!("cargo::rustc-link-search={}", out.display());
    if target.starts_with("riscv") {
        // The script link.x of cortex-m-rt includes memory.x. The one of riscv-rt requires it as an earlier argument.
        println!("cargo::rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    // Without `--nmagic` the linker aligns sections to pages of 4 KiB, which wastes flash.
    println!("cargo::rustc-link-arg-bins=--nmagic");
    // The script defmt.x requires symbols that only programs with a defmt logger contain.
    for program in
        ["train", "quantized", "failing-power", "count", "manual-loop", "tasks", "size", "handler-size", "save-size"]
    {
        println!("cargo::rustc-link-arg-bin={program}=-Tdefmt.x");
    }
    // The script defmt.x would keep defmt's default panic function. The program `no-panic` must not contain a panic, so
    // it uses a script without that symbol.
    fs::copy("memory/no-panic.x", out.join("no-panic.x"))?;
    println!("cargo::rerun-if-changed=memory/no-panic.x");
    println!("cargo::rustc-link-arg-bin=no-panic=-Tno-panic.x");
    Ok(())
}
