//! Compares the library with two other readers of the checkpoint format, `tests/readers/reader.c` and
//! `tests/readers/reader.py`, which were written from FORMAT.md alone. The three must come to the same verdict on every
//! file, and read the same content from a valid one.
//!
//! ```sh
//! cargo test -p training-monitor-tests --test readers -- --ignored --nocapture
//! ```
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `READERS_SEED` | the seed of all random numbers | 1 |
//! | `READERS_FILES` | the number of generated checkpoints | 5000 |
//! | `READERS_MUTANTS` | the number of mutants | 100000 |
//! | `READERS_REPLAY` | a file; the readers are compared on this file only | |
//! | `CC`, `PYTHON` | the C compiler and a Python with numpy | `cc`, `python3` |

mod generate;
mod library;
mod mutate;
mod plain;

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use training_monitor_tests::random::Random;

/// The number of files that one process of a reader gets.
const BATCH: usize = 20_000;

/// The verdicts of FORMAT.md.
const VERDICTS: [&str; 4] = ["valid", "invalid", "newer", "unsupported version"];

#[test]
#[ignore = "needs cc and numpy"]
fn two_other_readers_agree_with_the_library() {
    let readers = Readers::prepare();
    if let Some(path) = std::env::var_os("READERS_REPLAY") {
        let bytes = fs::read(path).expect("a readable file");
        readers.compare(&[bytes], &mut Counts::default());
        return;
    }
    let seed: u64 = setting("READERS_SEED", 1);
    let (files, mutants): (usize, usize) = (setting("READERS_FILES", 5000), setting("READERS_MUTANTS", 100_000));
    let mut random = Random::new(seed);
    println!("seed {seed}");

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let golden = fs::read_dir(golden).expect("the golden files").map(|file| fs::read(file.unwrap().path()).unwrap());
    let mut counts = Counts::default();
    readers.compare(&golden.collect::<Vec<_>>(), &mut counts);
    println!("golden files:                   {counts}");

    let mut counts = Counts::default();
    for count in batches(files) {
        let encode = |_| {
            let mut checkpoint = generate::checkpoint(&mut random);
            let encoded = checkpoint.encode();
            let (written, _) = plain::write(&checkpoint.stream, None, &mut random);
            assert_eq!(encoded, written, "the encoder and FORMAT.md differ for {:?}", checkpoint.stream);
            encoded
        };
        readers.compare(&(0..count).map(encode).collect::<Vec<_>>(), &mut counts);
    }
    println!("streams of the encoder:         {counts}");
    assert_eq!(counts.verdicts, [files, 0, 0, 0], "the encoder writes valid streams only");

    let (mut repaired_counts, mut other_counts) = (Counts::default(), Counts::default());
    for count in batches(mutants) {
        let all = (0..count).map(|_| mutate::mutant(generate::checkpoint(&mut random).stream, &mut random));
        let (repaired, other): (Vec<_>, Vec<_>) = all.partition(|mutant| mutant.is_repaired);
        let bytes = |mutants: Vec<mutate::Mutant>| mutants.into_iter().map(|mutant| mutant.bytes).collect::<Vec<_>>();
        readers.compare(&bytes(repaired), &mut repaired_counts);
        readers.compare(&bytes(other), &mut other_counts);
    }
    println!("mutants with a repaired crc:    {repaired_counts}");
    println!("mutants without a repaired crc: {other_counts}");
    if mutants >= 1000 {
        assert!(repaired_counts.total() >= other_counts.total());
        assert!(repaired_counts.verdicts.iter().all(|count| *count > 0), "a verdict does not occur");
    }
}

fn setting<T: FromStr>(variable: &str, default: T) -> T {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

/// Splits `total` into numbers of at most [`BATCH`].
fn batches(total: usize) -> impl Iterator<Item = usize> {
    (0..total).step_by(BATCH).map(move |start| BATCH.min(total - start))
}

/// How often each verdict occurred.
#[derive(Default)]
struct Counts {
    verdicts: [usize; VERDICTS.len()],
}

impl Counts {
    fn total(&self) -> usize {
        self.verdicts.iter().sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7}", self.total())?;
        for (verdict, count) in VERDICTS.iter().zip(self.verdicts) {
            write!(f, "  {verdict} {count} ({:.1} %)", count as f64 * 100.0 / self.total().max(1) as f64)?;
        }
        Ok(())
    }
}

/// The two other readers.
struct Readers {
    c: PathBuf,
    python: String,
    script: PathBuf,
    /// The directory for the compiled reader and for files.
    directory: PathBuf,
}

impl Readers {
    /// Compiles the reader in C and checks that Python has numpy.
    fn prepare() -> Self {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readers");
        fs::create_dir_all(&directory).expect("a writable target directory");
        let reader = directory.join("reader");
        let compiler: String = setting("CC", "cc".into());
        let mut command = Command::new(&compiler);
        command.args(["-std=c99", "-O2", "-Wall", "-Wextra", "-o"]).arg(&reader).arg(sources.join("reader.c"));
        let is_compiled = command.status().is_ok_and(|status| status.success());
        assert!(is_compiled, "reader.c does not compile with {compiler}: install a C compiler, or set CC");
        let python: String = setting("PYTHON", "python3".into());
        let has_numpy =
            Command::new(&python).args(["-c", "import numpy"]).status().is_ok_and(|status| status.success());
        assert!(has_numpy, "{python} cannot import numpy: run `pip install numpy`, or set PYTHON");
        Readers { c: reader, python, script: sources.join("reader.py"), directory }
    }

    /// Compares the lines of both readers with those of the library for each file. Adds the verdicts to `counts`.
    fn compare(&self, files: &[Vec<u8>], counts: &mut Counts) {
        let input = self.directory.join("input");
        let mut bytes = Vec::new();
        for file in files {
            bytes.extend((file.len() as u32).to_le_bytes());
            bytes.extend(file);
        }
        fs::write(&input, &bytes).expect("a writable target directory");
        let mut python = Command::new(&self.python);
        python.arg("-B").arg(&self.script);
        let (c, python, library) = std::thread::scope(|scope| {
            let python = scope.spawn(|| lines(python, &input));
            let c = scope.spawn(|| lines(Command::new(&self.c), &input));
            let library: Vec<_> = files.iter().map(|file| library::verdict(file)).collect();
            (c.join().expect("reader.c"), python.join().expect("reader.py"), library)
        });
        for (index, file) in files.iter().enumerate() {
            let line = |lines: &[String]| lines.get(index).cloned().unwrap_or_else(|| "(nothing)".into());
            let (c, python, library) = (line(&c), line(&python), line(&library));
            if c != library || python != library {
                self.report(file, &[("library", &library), ("reader.c", &c), ("reader.py", &python)]);
            }
            let verdict = VERDICTS.iter().position(|verdict| library.starts_with(verdict)).expect("a verdict");
            counts.verdicts[verdict] += 1;
        }
    }

    /// Saves a file on which the readers differ, and fails with the command that compares them again.
    fn report(&self, file: &[u8], results: &[(&str, &String)]) -> ! {
        let path = self.directory.join("difference.ckpt");
        fs::write(&path, file).expect("a writable target directory");
        let mut message = String::from("the readers differ:\n");
        for (reader, line) in results {
            writeln!(message, "  {reader:9}  {line}").expect("a string accepts every text");
        }
        let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!(
            "{message}bytes: {hex}\nREADERS_REPLAY={} cargo test -p training-monitor-tests --test readers -- --ignored",
            path.display()
        );
    }
}

/// Runs a reader with the files in `input`. Returns the lines that it prints.
fn lines(mut reader: Command, input: &Path) -> Vec<String> {
    let input = File::open(input).expect("the input");
    let output = reader.stdin(input).stderr(Stdio::inherit()).output().expect("a reader that starts");
    assert!(output.status.success(), "{reader:?} failed: {}", output.status);
    String::from_utf8(output.stdout).expect("ASCII").lines().map(str::to_owned).collect()
}
