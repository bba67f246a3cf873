//! Simulates power failures: starts an emulator, kills it at a random moment and starts it again, until the program
//! completes.
//!
//! A save takes about one hundredth of the run time, so random kills would rarely interrupt one. Therefore half of the
//! kills happen at a random time, and the other half happen shortly after the flash file changes. The seed determines
//! the delays. The operation that a kill interrupts also depends on the speed of the host.

use crate::CheckResult;
use digits_workload::random::Pcg32;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Approximate duration of a save.
const SAVE_TIME: Duration = Duration::from_millis(12);

/// Time limit of the last start, which is not killed. It allows for a busy host.
const LAST_START_LIMIT: Duration = Duration::from_secs(300);

/// Time limit of the wait for a change of the flash file.
const CHANGE_LIMIT: Duration = Duration::from_secs(5);

/// Starts `program` until it completes, and kills it at most `kills` times before. `mean_life` is the mean time in
/// milliseconds before a kill.
///
/// Writes two numbers to the file `killed`: the number of kills, and how many of them happened while the flash changed.
/// The number of kills is smaller than `kills` if the program completes earlier.
pub fn kill(kills: u32, seed: u64, mean_life: u64, flash: &Path, killed: &Path, program: &[String]) -> CheckResult {
    let mut random = Pcg32::new(seed);
    let (mut count, mut during_save) = (0, 0);
    let status = loop {
        let mut child = start(program)?;
        if count == kills {
            if let Some(status) = wait_for_exit(&mut child, LAST_START_LIMIT, || false)? {
                break status;
            }
            child.kill()?;
            child.wait()?;
            let limit = LAST_START_LIMIT.as_secs();
            return Err(format!("the program did not complete within {limit} s after its last start").into());
        }
        // The lifetime is uniformly distributed between 0 and twice the mean.
        let life = Duration::from_millis(mean_life * 2).mul_f32(random.symmetric(0.5) + 0.5);
        let await_save = random.symmetric(1.0) > 0.0;
        let delay = SAVE_TIME.mul_f32(random.symmetric(0.5) + 0.5);
        let mut exited = wait_for_exit(&mut child, life, || false)?;
        if await_save && exited.is_none() {
            let before = modified(flash);
            exited = wait_for_exit(&mut child, CHANGE_LIMIT, || modified(flash) != before)?;
            if exited.is_none() {
                thread::sleep(delay);
            }
        }
        if let Some(status) = exited {
            break status;
        }
        child.kill()?;
        // A process that exited before the kill has an exit code. It does not count as killed.
        let status = child.wait()?;
        if status.code().is_some() {
            break status;
        }
        count += 1;
        during_save += u32::from(await_save);
    };
    fs::write(killed, format!("{count} {during_save}\n"))?;
    if status.success() { Ok(()) } else { Err(format!("the run failed after {count} kills: {status}").into()) }
}

fn start(program: &[String]) -> std::io::Result<Child> {
    let (name, arguments) = program.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    Command::new(name).args(arguments).stdin(Stdio::null()).spawn()
}

/// Waits until the process exits, the time `limit` has passed, or `stop` returns true. Returns the exit status if the
/// process exited.
fn wait_for_exit(child: &mut Child, limit: Duration, stop: impl Fn() -> bool) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    while Instant::now() < end && !stop() {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(None)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
