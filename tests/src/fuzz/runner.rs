//! Runs fuzz targets on stable Rust, without measuring which code an input reaches. Inputs are random, or mutations of
//! the corpus (the committed inputs). Each input is generated from a seed and a number, so it can be generated again. A
//! failing input is minimized and saved to a file.

use super::Target;
use crate::random::Random;
use std::cell::Cell;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The maximum run time of one input.
const TIME_LIMIT: Duration = Duration::from_secs(20);

thread_local! {
    /// Whether the runner catches the panics of this thread. If true, the panic hook prints no message.
    static CATCHES_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// The directory with the corpora (the committed test inputs) of all fuzz targets.
#[must_use]
pub fn corpus_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join("corpus")
}

/// Reads the committed inputs of a target, in the order of their names. A missing directory is an empty corpus.
///
/// # Errors
/// An I/O error.
pub fn corpus(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let dir = corpus_root().join(target.name);
    let mut paths = match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    paths.sort();
    paths.into_iter().map(fs::read).collect()
}

/// Runs the target with one input.
///
/// # Errors
/// The message of the panic.
pub fn execute(target: &Target, data: &[u8]) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CATCHES_PANICS.get() {
                default_hook(info);
            }
        }));
    });
    CATCHES_PANICS.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.body)(data)));
    CATCHES_PANICS.set(false);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "the panic has no message".into())
    })
}

/// Generates input number `index` of `seed`.
#[must_use]
pub fn generate(target: &Target, corpus: &[Vec<u8>], seed: u64, index: u64) -> Vec<u8> {
    let mut random = Random::new(seed ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    if corpus.is_empty() || random.once_in(2) {
        let len = random.below(target.len + 1);
        // Small bytes decode to small numbers and to the first variants of enums, which reach more code.
        let prefers_small = random.once_in(2);
        return (0..len)
            .map(|_| if prefers_small && !random.once_in(4) { random.byte() % 8 } else { random.byte() })
            .collect();
    }
    let mut data = random.pick(corpus).clone();
    for _ in 0..=random.below(6) {
        let position = random.below(data.len() + 1);
        match random.below(6) {
            0 => data.insert(position, random.byte()),
            1 if position < data.len() => drop(data.remove(position)),
            2 if position < data.len() => data[position] ^= 1 << random.below(8),
            3 if position < data.len() => data[position] = *random.pick(&[0, 1, 2, 3, 0x7F, 0x80, 0xFF]),
            4 => {
                let other = random.pick(corpus);
                let start = random.below(other.len() + 1);
                data.truncate(position);
                data.extend_from_slice(&other[start..]);
            }
            _ if position < data.len() => data[position] = random.byte(),
            _ => data.extend((0..random.below(16)).map(|_| random.byte()).collect::<Vec<_>>()),
        }
    }
    data
}

/// A minimized failing input.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The bytes of the failing input.
    pub data: Vec<u8>,
    /// The message of the panic.
    pub message: String,
}

/// The result of a run of a target.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The number of executed inputs.
    pub executions: u64,
    /// The total run time of all inputs.
    pub time: Duration,
    /// The first failing input. The run stops after this input.
    pub failure: Option<Failure>,
}

/// Runs the corpus, and then generated inputs until `limit` inputs have run or `time` has passed.
///
/// # Errors
/// An I/O error while reading the corpus.
pub fn run(target: &Target, seed: u64, limit: u64, time: Duration) -> io::Result<Summary> {
    let corpus = corpus(target)?;
    let start = Instant::now();
    let started = AtomicU64::new(0);
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let (started, corpus_inputs) = (&started, &corpus);
        scope.spawn(move || {
            let mut last = 0;
            while is_done.recv_timeout(TIME_LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let now = started.load(Ordering::Relaxed);
                if now == last && now > corpus_inputs.len() as u64 {
                    let data = generate(target, corpus_inputs, seed, now - 1 - corpus_inputs.len() as u64);
                    println!("{}: an input takes longer than {TIME_LIMIT:?}", target.name);
                    save_input(target, &data).map_or_else(|error| println!("{error}"), |line| println!("    {line}"));
                    println!("0 passed, 1 failed");
                    std::process::exit(1);
                }
                last = now;
            }
        });
        for index in 0..limit.saturating_add(corpus.len() as u64) {
            let number = index.checked_sub(corpus.len() as u64);
            if number.is_some_and(|number| number % 64 == 0) && start.elapsed() >= time {
                break;
            }
            started.store(index + 1, Ordering::Relaxed);
            let generated = number.map(|number| generate(target, &corpus, seed, number));
            let data = generated.as_deref().unwrap_or_else(|| &corpus[index as usize]);
            summary.executions += 1;
            if execute(target, data).is_err() {
                let data = minimize(target, data);
                let message = execute(target, &data).err().unwrap_or_else(|| "the input fails only sometimes".into());
                summary.failure = Some(Failure { data, message });
                break;
            }
        }
        drop(done);
    });
    summary.time = start.elapsed();
    Ok(summary)
}

/// Minimizes a failing input: removes bytes, or sets bytes to 0, as long as the target still fails.
#[must_use]
pub fn minimize(target: &Target, data: &[u8]) -> Vec<u8> {
    let mut best = data.to_vec();
    let mut size = best.len().div_ceil(2);
    let mut attempts = 4000u32;
    while size > 0 && attempts > 0 {
        let mut start = 0;
        while start < best.len() && attempts > 0 {
            let end = (start + size).min(best.len());
            let shortened = [&best[..start], &best[end..]].concat();
            let mut zeroed = best.clone();
            zeroed[start..end].fill(0);
            attempts = attempts.saturating_sub(2);
            if execute(target, &shortened).is_err() {
                best = shortened;
            } else {
                if zeroed != best && execute(target, &zeroed).is_err() {
                    best = zeroed;
                }
                start = end;
            }
        }
        size /= 2;
    }
    best
}

/// Saves an input to a file. Returns the command that runs it again.
///
/// # Errors
/// An I/O error.
pub fn save_input(target: &Target, data: &[u8]) -> io::Result<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join("artifacts").join(target.name);
    fs::create_dir_all(&dir)?;
    let file = dir.join(format!("{:08x}", crate::models::stream::crc32(data)));
    fs::write(&file, data)?;
    Ok(format!(
        "cargo run --release -p training-monitor-tests --bin fuzz -- --replay {} {}",
        target.name,
        file.display()
    ))
}
