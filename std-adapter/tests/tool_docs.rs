//! Every command in `docs/` is run, and every Python block, in the order of its page. The Rust examples are run with the
//! library's own.
//!
//! The files that the pages speak of are made first: `runs/digits`, `runs/other`, `dump.bin`, a device's logs. A line that ends with
//! `# exits with 1` must.

mod tool;

use std::fs;
use std::path::Path;
use std::process::Command;
use tool::{Chip, device, python, train};
use training_monitor::checkpoint::Crc32;
use training_monitor::store::slots::Slots;
use training_monitor_std::{Directory, History};

/// What the pages speak of.
fn prepare(dir: &Path) {
    for run in ["runs/digits", "runs/other"] {
        let run = dir.join(run);
        let open = |prefix: &str| Directory::builder(&run, prefix).require_empty(false).open();
        fs::create_dir_all(&run).unwrap();
        train(open("best").unwrap(), open("latest").unwrap());
        let history = History::create(run.join("history.jsonl")).unwrap();
        (1..40).for_each(|iteration| history.iteration(iteration, 1.0 / iteration as f32, None));
        history.epoch(1, &[("accuracy", 0.9)]);
        let reason = training_monitor::StopReason::MaxEpochs;
        history.stopped(&training_monitor::Outcome { reason, epoch: 1, iteration: 40 });
        history.flush().unwrap();
    }
    let mut flash = vec![0xFF; 4096];
    let slots = Slots::<_, 2, Crc32>::open(Chip::<256>(&mut flash), 0..4096).unwrap();
    train(training_monitor::store::ram::Ram::<3, 512>::new(), slots);
    fs::write(dir.join("dump.bin"), flash).unwrap();
    fs::write(dir.join("device.log"), "INFO epoch 1: loss 0.5\n").unwrap();
    fs::write(dir.join("firmware.elf"), device::program(device::TABLE)).unwrap();
    fs::write(dir.join("frames.bin"), device::FRAMES).unwrap();
}

/// The blocks of a page: language and text.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language, text.join("\n")));
        }
    }
    blocks
}

/// Runs a page; how many of its lines and blocks were run.
fn run(page: &Path) -> usize {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let mut count = 0;
    for (language, text) in blocks(&fs::read_to_string(page).unwrap()) {
        match language {
            "sh" => {
                for line in text.lines().filter(|line| !line.is_empty()) {
                    let (line, comment) = line.split_once('#').unwrap_or((line, ""));
                    let words: Vec<&str> = line.split_whitespace().collect();
                    assert_eq!(words[0], "training-monitor", "{}: {line}", page.display());
                    let mut command = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
                    let output = command.args(&words[1..]).current_dir(dir.path()).output().unwrap();
                    let wanted = i32::from(comment.trim() == "exits with 1");
                    let told = String::from_utf8_lossy(&output.stderr);
                    assert_eq!(output.status.code(), Some(wanted), "{}: {line}\n{told}", page.display());
                    count += 1;
                }
            }
            "python" => {
                // What follows on the page needs what this makes.
                let Some(mut python) = python() else { return count };
                let output = python.args(["-c", &text]).current_dir(dir.path()).output().unwrap();
                assert!(output.status.success(), "{}: {}", page.display(), String::from_utf8_lossy(&output.stderr));
                count += 1;
            }
            // Tested with the library; configuration, pictures and what takes a project of one's own.
            "rust" | "toml" | "text" => (),
            _ => panic!("{}: a block of {language:?}", page.display()),
        }
    }
    count
}

#[test]
fn every_command_of_the_book_works() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut pages: Vec<_> = fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    let count: usize = pages.iter().map(|page| run(page)).sum();
    assert!(pages.len() >= 8 && count >= 30, "{count} commands on {} pages", pages.len());
}
