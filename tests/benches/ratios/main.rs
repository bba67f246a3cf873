//! `cargo bench`: one table of ratios, each thing beside what one would write without it, beside its limit and beside its
//! peers. `cargo bench --bench ratios -- --svg` also draws how cost grows.
//!
//! Every line's ratios come from rounds in which all ways of a group took turns ([`measure`]); instructions come from
//! callgrind, where it is installed. The last column holds a line to its budget. Nothing fails here: what has to hold
//! is held by tests, none of which looks at a clock. The 1 M lines need their 4 MiB in the last-level cache; where other
//! programs use it they show memory's bandwidth, and scan and limit are one.

mod bytes;
mod files;
mod growth;
mod handlers;
mod measure;
mod scan;

use measure::Group;
use std::path::Path;

const ROUNDS: usize = 41;
const SIZES: [(usize, &str); 3] = [(1 << 20, "1 M"), (1 << 16, "64 k"), (1 << 10, "1 k")];

/// At most so many times what `other` takes.
struct Budget {
    way: &'static str,
    other: &'static str,
    at_most: f64,
}

fn print(group: Group<'_>, base: &str, limit: &str, budgets: &[Budget]) {
    let group = group.measure(ROUNDS);
    println!("\n{:<42} {:>12} {:>8} {:>8}   quartiles     budget", group.title, group.unit, "× base", "× limit");
    for way in group.names() {
        let (to_base, to_limit) = (group.ratio(way, base), group.ratio(way, limit));
        let mark = if way == limit {
            "  <- limit"
        } else if way == base {
            "  <- base"
        } else {
            ""
        };
        let held: String = budgets
            .iter()
            .filter(|budget| budget.way == way)
            .map(|budget| {
                let ratio = group.ratio(way, budget.other).median;
                let verdict = if ratio <= budget.at_most { "met" } else { "MISSED" };
                format!("  {verdict}: {ratio:.2} of {} × {}", budget.at_most, budget.other)
            })
            .collect();
        println!(
            "  {way:<40} {:>12.4} {:>8.3} {:>8.3}  {:.3}–{:.3}{mark}{held}",
            group.time(way).median,
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
        Budget { way: scan::OURS, other: scan::NAIVE, at_most: 0.25 },
        Budget { way: scan::OURS, other: scan::LIMIT, at_most: 1.6 },
    ];
    for (len, name) in SIZES {
        print(scan::group(&values[..len], name), scan::NAIVE, scan::LIMIT, &budgets);
    }
    print(scan::group(&values[1..=1 << 10], "1 k, not aligned"), scan::NAIVE, scan::LIMIT, &[]);
    let large = vec![f32::MAX; 1 << 10];
    print(scan::group(&large, "1 k, sums overflow"), scan::NAIVE, scan::LIMIT, &[]);
    let budgets = [Budget { way: scan::OURS, other: scan::NAIVE, at_most: 1.0 }];
    for lengths in [1..=1, 4..=4, 8..=8, 16..=16, 1..=16, 17..=64] {
        print(scan::short(lengths), scan::NAIVE, scan::NAIVE, &budgets);
    }
}

fn encoders() {
    let budgets = [
        Budget { way: bytes::ENCODE, other: bytes::MEMCPY, at_most: 2.2 },
        Budget { way: bytes::ENCODE, other: bytes::SAFETENSORS, at_most: 1.0 },
    ];
    for (len, name) in SIZES {
        let asked = if len == 1 << 20 { &budgets[..] } else { &budgets[1..] };
        print(bytes::encoders(len, name), bytes::MEMCPY, bytes::LIMIT, asked);
    }
    for (len, name) in SIZES {
        print(bytes::decoders(len, name), bytes::MEMCPY, bytes::LIMIT, &[]);
    }
}

fn instructions() {
    println!("\ninstructions an iteration (callgrind)        by hand   engine    ratio     budget");
    for weights in ["8 weights", "256 weights"] {
        for when in ["each epoch", "each iteration"] {
            let hand = handlers::count(&format!("by hand, {when}, {weights}"));
            let engine = handlers::count(&format!("engine, 4 handlers, {when}, {weights}"));
            let (Some(hand), Some(engine)) = (hand, engine) else {
                println!("  valgrind is not installed: not counted");
                return;
            };
            let ratio = engine / hand;
            let verdict = if ratio <= 1.05 { "met" } else { "over" };
            println!(
                "  4 handlers, {when:<15} {weights:<13} {hand:>8.1} {engine:>8.1} {ratio:>8.4}     {verdict}: 1.05"
            );
        }
    }
    for name in ["bare loop, 8 weights", "engine, 0 silent", "engine, 4 silent", "engine, 16 silent"] {
        if let Some(count) = handlers::count(name) {
            println!("  {name:<50} {count:>8.1}");
        }
    }
}

fn saves() {
    // Beside the build, not in the directory for temporary files, which may be memory.
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
    // `-- --only encoders`: one of the four parts.
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    let parts: [(&str, fn()); 4] =
        [("scans", scans), ("encoders", encoders), ("instructions", instructions), ("saves", saves)];
    for (name, part) in parts {
        if only.is_none_or(|only| only == name) {
            part();
        }
    }
    if arguments.iter().any(|argument| argument == "--svg") {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        std::fs::create_dir_all(&docs).expect("a directory docs");
        std::fs::write(docs.join("bench-growth.svg"), growth::picture()).expect("the picture written");
        println!("\ndocs/bench-growth.svg is written");
    }
}
