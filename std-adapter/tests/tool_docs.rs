//! Runs each command and each Python block in `docs/`, in the order of its page. The documentation tests of the library
//! compile the Rust blocks.
//!
//! The test first creates the files that the pages mention: `runs/digits`, `runs/other`, `dump.bin` and logs of a
//! device. A command with the comment `# exits with 1` must exit with 1, all others with 0.

mod tool;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tool::{MemoryFlash, device, python, train};
use training_monitor::store::flash::Slots;
use training_monitor_std::{Directory, History};

/// Creates the files that the pages mention.
fn create_files(dir: &Path) {
    for run in ["runs/digits", "runs/other"] {
        let run = dir.join(run);
        let open = |prefix: &str| Directory::builder(&run, prefix).require_empty(false).open();
        fs::create_dir_all(&run).unwrap();
        train(open("best").unwrap(), open("latest").unwrap());
        let history = History::create(run.join("history.jsonl")).unwrap();
        (1..40).for_each(|iteration| history.record_iteration(iteration, 1.0 / iteration as f32, None));
        history.record_epoch(1, &[("accuracy", 0.9)]);
        let reason = training_monitor::StopReason::MaxEpochs;
        history.record_stop(&training_monitor::Outcome { reason, epoch: 1, iteration: 40 });
        history.flush().unwrap();
    }
    let mut flash = vec![0xFF; 4096];
    let slots = Slots::<_, 2>::open(MemoryFlash::<256>(&mut flash), 0..4096).unwrap();
    train(training_monitor::store::ram::Ram::<3, 512>::new(), slots);
    fs::write(dir.join("dump.bin"), flash).unwrap();
    fs::write(dir.join("device.log"), "INFO epoch 1: loss 0.5\n").unwrap();
    fs::write(dir.join("firmware.elf"), device::program(device::SYMBOLS)).unwrap();
    fs::write(dir.join("frames.bin"), device::FRAMES).unwrap();
}

/// A block of code on a page.
struct Block {
    language: String,
    text: String,
}

/// Returns all code blocks of a documentation page.
fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { language: language.to_owned(), text: text.join("\n") });
        }
    }
    blocks
}

/// The first command of the page installs the tool from a checkout, and the page states what it installs. Building the
/// program again would take minutes, so the test checks what the command names.
#[test]
fn the_first_command_installs_the_tool() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = root.join("docs/ml-engineer.md");
    let block = &blocks(&page)[0];
    let command: Vec<&str> = block.text.lines().next().unwrap().split(' ').collect();
    let ["cargo", "install", "--locked", "--path", path, "--features", feature] = command[..] else {
        panic!("{command:?}");
    };
    assert!(root.join("Cargo.lock").exists());
    let manifest = fs::read_to_string(root.join(path).join("Cargo.toml")).unwrap();
    assert!(manifest.contains(&format!("\n{feature} = [")), "no feature {feature}");
    let binary = format!("[[bin]]\nname = \"training-monitor\"\nrequired-features = [\"{feature}\"]\n");
    assert_eq!(manifest.matches("[[bin]]").count(), 1);
    assert!(manifest.contains(&binary), "the command installs another program");
    assert!(fs::read_to_string(page).unwrap().contains("installs one program, `training-monitor`,"));
}

/// Runs blocks in a new directory. Returns the number of commands and Python blocks.
fn run_blocks(page: &Path, blocks: &[Block]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    create_files(dir.path());
    let mut count = 0;
    for Block { language, text } in blocks {
        match language.as_str() {
            "sh" => {
                count +=
                    text.lines().filter(|line| !line.is_empty()).map(|line| run_command(page, dir.path(), line)).count()
            }
            "python" => {
                let output = python().args(["-c", text]).current_dir(dir.path()).output().unwrap();
                assert!(output.status.success(), "{}: {}", page.display(), String::from_utf8_lossy(&output.stderr));
                count += 1;
            }
            // Rust is tested with the library, and `core/c/check` compiles C and C++ and uses the CMake package. The others
            // are configuration, output, and commands in other directories.
            "rust" | "c" | "cpp" | "cmake" | "toml" | "text" => (),
            _ => panic!("{}: unknown language {language:?} of a block", page.display()),
        }
    }
    count
}

fn run_command(page: &Path, dir: &Path, line: &str) {
    let (command, comment) = line.split_once('#').unwrap_or((line, ""));
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[0], "training-monitor", "{}: {line}", page.display());
    let mut tool = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
    let output = tool.args(&words[1..]).current_dir(dir).output().unwrap();
    let expected = i32::from(comment.trim() == "exits with 1");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(expected), "{}: {line}\n{error}", page.display());
}

fn pages() -> Vec<PathBuf> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut pages: Vec<_> = fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    // `std-adapter/python/check` runs the code of these pages, because it needs the Python package.
    let in_python = ["python.md", "studies.md", "fleets.md", "gateway.md"];
    pages.retain(|page| !in_python.iter().any(|name| page.ends_with(name)));
    pages
}

/// Runs the commands of each page, without Python. Commands after a Python block can depend on its files, so the test
/// stops at the first Python block of a page.
#[test]
fn commands_in_the_docs_work() {
    let pages = pages();
    let mut count = 0;
    for page in &pages {
        let mut blocks = blocks(page);
        let python = blocks.iter().position(|block| block.language == "python");
        blocks.truncate(python.unwrap_or(blocks.len()));
        count += run_blocks(page, &blocks);
    }
    assert!(pages.len() >= 8 && count >= 30, "{count} commands on {} pages", pages.len());
}

#[test]
#[ignore = "needs Python with numpy and safetensors"]
fn pages_with_python_blocks_work() {
    let mut count = 0;
    for page in pages() {
        let blocks = blocks(&page);
        if blocks.iter().any(|block| block.language == "python") {
            count += run_blocks(&page, &blocks);
        }
    }
    assert!(count > 0, "no page has a Python block");
}
