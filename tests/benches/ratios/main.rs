//! `cargo bench` prints tables of ratios. Each table compares a function of the library with a simple implementation,
//! with a lower limit and with other crates. `cargo bench --bench ratios -- --svg` also draws the growth of the costs.
//!
//! The ratios of a table come from rounds in which all variants run in turn, see [`measure`]. Instruction counts come
//! from callgrind, if it is installed. The last column compares a ratio with its budget. A missed budget is not an
//! error: the benchmark only reports, and no test measures time. The tables for 1 M numbers assume that 4 MiB fit the
//! last-level cache. If other programs use this cache, they show the memory bandwidth, and all variants take the same
//! time.

mod bytes;
mod files;
mod growth;
mod handlers;
mod measure;
mod scan;
mod types;

use measure::Group;
use std::path::Path;
use training_monitor::checkpoint::ElementType;

const ROUNDS: usize = 41;
const SIZES: [(usize, &str); 3] = [(1 << 20, "1 M"), (1 << 16, "64 k"), (1 << 10, "1 k")];

/// A budget: the upper limit for the run time of one variant, divided by the run time of another variant.
struct Budget {
    variant: &'static str,
    other: &'static str,
    max_ratio: f64,
}

fn print(group: Group<'_>, base: &str, limit: &str, budgets: &[Budget]) {
    let group = group.measure(ROUNDS);
    println!("\n{:<42} {:>12} {:>8} {:>8}   quartiles     budget", group.title, group.unit, "× base", "× limit");
    for variant in group.names() {
        let (to_base, to_limit) = (group.ratio(variant, base), group.ratio(variant, limit));
        let mark = if variant == limit {
            "  <- limit"
        } else if variant == base {
            "  <- base"
        } else {
            ""
        };
        let results: String = budgets
            .iter()
            .filter(|budget| budget.variant == variant)
            .map(|budget| {
                let ratio = group.ratio(variant, budget.other).median;
                let result = if ratio <= budget.max_ratio { "met" } else { "MISSED" };
                format!("  {result}: {ratio:.2}, budget {} × {}", budget.max_ratio, budget.other)
            })
            .collect();
        println!(
            "  {variant:<40} {:>12.4} {:>8.3} {:>8.3}  {:.3}–{:.3}{mark}{results}",
            group.time(variant).median,
            to_base.median,
            to_limit.median,
            to_limit.low,
            to_limit.high
        );
    }
}

fn scans() {
    let values = scan::weights((1 << 20) + 1);
    let budgets = [
        Budget { variant: scan::OURS, other: scan::NAIVE, max_ratio: 0.25 },
        Budget { variant: scan::OURS, other: scan::LIMIT, max_ratio: 1.6 },
    ];
    for (len, name) in SIZES {
        print(scan::group(&values[..len], name), scan::NAIVE, scan::LIMIT, &budgets);
    }
    print(scan::group(&values[1..=1 << 10], "1 k, unaligned"), scan::NAIVE, scan::LIMIT, &[]);
    let large = vec![f32::MAX; 1 << 10];
    print(scan::group(&large, "1 k, sums overflow"), scan::NAIVE, scan::LIMIT, &[]);
    let budgets = [Budget { variant: scan::OURS, other: scan::NAIVE, max_ratio: 1.0 }];
    for lengths in [1..=1, 4..=4, 8..=8, 16..=16, 1..=16, 17..=64] {
        print(scan::short_slices(lengths), scan::NAIVE, scan::NAIVE, &budgets);
    }
}

fn encoders() {
    let budgets = [
        Budget { variant: bytes::ENCODE, other: bytes::MEMCPY, max_ratio: 2.2 },
        Budget { variant: bytes::ENCODE, other: bytes::SAFETENSORS, max_ratio: 1.0 },
    ];
    for (len, name) in SIZES {
        let size_budgets = if len == 1 << 20 { &budgets[..] } else { &budgets[1..] };
        print(bytes::encoders(len, name), bytes::MEMCPY, bytes::LIMIT, size_budgets);
    }
    for (len, name) in SIZES {
        print(bytes::decoders(len, name), bytes::MEMCPY, bytes::LIMIT, &[]);
    }
}

/// The speed for each byte must not depend on the type. A `bool` is checked in addition.
fn types() {
    let budgets = |max_ratio| move |variant| Budget { variant, other: "f32", max_ratio };
    let names: Vec<_> = ElementType::ALL.iter().map(|element_type| element_type.name()).collect();
    let all: Vec<_> = names.iter().copied().filter(|name| *name != "bool").map(budgets(1.05)).collect();
    print(types::encoders(), "f32", "f32", &all);
    print(types::loads(), "f32", "f32", &all);
    print(types::scans(), "f32", "f32", &["f64", "f16", "bf16"].map(budgets(1.05)));
}

fn instructions() {
    println!("\ninstructions per iteration (callgrind)       manual    engine    ratio     budget");
    for weights in ["8 weights", "256 weights"] {
        for event in ["each epoch", "each iteration"] {
            let manual = handlers::count(&format!("manual loop, {event}, {weights}"));
            let engine = handlers::count(&format!("engine, 4 handlers, {event}, {weights}"));
            let (Some(manual), Some(engine)) = (manual, engine) else {
                println!("  not counted: valgrind is not installed");
                return;
            };
            let ratio = engine / manual;
            let result = if ratio <= 1.05 { "met" } else { "MISSED" };
            println!(
                "  4 handlers, {event:<15} {weights:<13} {manual:>8.1} {engine:>8.1} {ratio:>8.4}     {result}: 1.05"
            );
        }
    }
    for name in ["bare loop, 8 weights", "engine, 0 inactive", "engine, 4 inactive", "engine, 16 inactive"] {
        if let Some(count) = handlers::count(name) {
            println!("  {name:<50} {count:>8.1}");
        }
    }
}

fn saves() {
    // The files are in the build directory, because the directory for temporary files may be in memory. A save to
    // memory would not measure the disk.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ratios");
    let _ = std::fs::remove_dir_all(&dir);
    for (elements, name) in [(1 << 20, "4 MiB"), (1 << 10, "4 KiB")] {
        print(files::group(&dir, elements, name), files::PLAIN, files::PLAIN_DURABLE, &[]);
    }
    let _ = std::fs::remove_dir_all(&dir);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, epochs] = &arguments[..]
        && flag == "--program"
    {
        return handlers::run_program(name, epochs.parse().expect("a number of epochs"));
    }
    // `-- --only encoders` runs one of the five parts.
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|index| arguments.get(index + 1));
    let parts: [(&str, fn()); 5] =
        [("scans", scans), ("encoders", encoders), ("types", types), ("instructions", instructions), ("saves", saves)];
    for (name, part) in parts {
        if only.is_none_or(|only| only == name) {
            part();
        }
    }
    if arguments.iter().any(|argument| argument == "--svg") {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        std::fs::create_dir_all(&docs).expect("the directory docs can be created");
        std::fs::write(docs.join("bench-growth.svg"), growth::chart()).expect("the chart can be written");
        println!("\nwrote docs/bench-growth.svg");
    }
}
