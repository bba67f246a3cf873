//! Runs targets without coverage, on any Rust: random inputs and changed ones of the corpus, each made from a seed and a
//! number, so that any of them can be made again. What fails is made smaller and kept in a file.

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

/// How long one input may take.
const PATIENCE: Duration = Duration::from_secs(20);

thread_local! {
    /// Whether panics of this thread are told by the runner, and not by the panic hook.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Where the corpora are.
#[must_use]
pub fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join("corpus")
}

/// The committed inputs of a target, in the order of their names.
///
/// # Errors
/// The system's, but for a target that has none.
pub fn corpus(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let dir = corpora().join(target.name);
    let mut paths = match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    paths.sort();
    paths.into_iter().map(fs::read).collect()
}

/// Runs the target on one input; what it said when it panicked.
///
/// # Errors
/// The text of the panic.
pub fn attempt(target: &Target, data: &[u8]) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.body)(data)));
    QUIET.set(false);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".into())
    })
}

/// Input number `index` of `seed`.
#[must_use]
pub fn generate(target: &Target, corpus: &[Vec<u8>], seed: u64, index: u64) -> Vec<u8> {
    let mut random = Random::new(seed ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    if corpus.is_empty() || random.once_in(2) {
        let len = random.below(target.len + 1);
        // Small bytes are small numbers and early variants: more happens with them.
        let small = random.once_in(2);
        return (0..len).map(|_| if small && !random.once_in(4) { random.byte() % 8 } else { random.byte() }).collect();
    }
    let mut data = random.pick(corpus).clone();
    for _ in 0..=random.below(6) {
        let at = random.below(data.len() + 1);
        match random.below(6) {
            0 => data.insert(at, random.byte()),
            1 if at < data.len() => drop(data.remove(at)),
            2 if at < data.len() => data[at] ^= 1 << random.below(8),
            3 if at < data.len() => data[at] = *random.pick(&[0, 1, 2, 3, 0x7F, 0x80, 0xFF]),
            4 => {
                let other = random.pick(corpus);
                let from = random.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            _ if at < data.len() => data[at] = random.byte(),
            _ => data.extend((0..random.below(16)).map(|_| random.byte()).collect::<Vec<_>>()),
        }
    }
    data
}

/// A failure that was made small.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The input.
    pub data: Vec<u8>,
    /// What the target said.
    pub why: String,
}

/// What came out of a target.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Inputs tried.
    pub executions: u64,
    /// How long it took.
    pub time: Duration,
    /// The first failure; nothing is tried after it.
    pub failure: Option<Failure>,
}

/// Runs the corpus, then `limit` made inputs or as many as there is `time` for.
///
/// # Errors
/// Where the corpus cannot be read.
pub fn run(target: &Target, seed: u64, limit: u64, time: Duration) -> io::Result<Verdict> {
    let corpus = corpus(target)?;
    let start = Instant::now();
    let started = AtomicU64::new(0);
    let mut verdict = Verdict::default();
    std::thread::scope(|scope| {
        let (done, watch) = std::sync::mpsc::channel::<()>();
        let (started, seeds) = (&started, &corpus);
        scope.spawn(move || {
            let mut last = 0;
            while watch.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let now = started.load(Ordering::Relaxed);
                if now == last && now > seeds.len() as u64 {
                    let data = generate(target, seeds, seed, now - 1 - seeds.len() as u64);
                    println!("{}: takes longer than {PATIENCE:?}", target.name);
                    keep(target, &data).map_or_else(|error| println!("{error}"), |line| println!("    {line}"));
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
            let made = number.map(|number| generate(target, &corpus, seed, number));
            let data = made.as_deref().unwrap_or_else(|| &corpus[index as usize]);
            verdict.executions += 1;
            if attempt(target, data).is_err() {
                let data = shrink(target, data);
                let why = attempt(target, &data).err().unwrap_or_else(|| "it does not fail each time".into());
                verdict.failure = Some(Failure { data, why });
                break;
            }
        }
        drop(done);
    });
    verdict.time = start.elapsed();
    Ok(verdict)
}

/// A smaller input that fails, too.
#[must_use]
pub fn shrink(target: &Target, data: &[u8]) -> Vec<u8> {
    let mut best = data.to_vec();
    let mut size = best.len().div_ceil(2);
    let mut tries = 4000u32;
    while size > 0 && tries > 0 {
        let mut at = 0;
        while at < best.len() && tries > 0 {
            let end = (at + size).min(best.len());
            let without = [&best[..at], &best[end..]].concat();
            let mut zeroed = best.clone();
            zeroed[at..end].fill(0);
            tries = tries.saturating_sub(2);
            if attempt(target, &without).is_err() {
                best = without;
            } else {
                if zeroed != best && attempt(target, &zeroed).is_err() {
                    best = zeroed;
                }
                at = end;
            }
        }
        size /= 2;
    }
    best
}

/// Writes an input to a file, and says how it is run again.
///
/// # Errors
/// The system's.
pub fn keep(target: &Target, data: &[u8]) -> io::Result<String> {
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
