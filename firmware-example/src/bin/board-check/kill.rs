//! Pulls the plug: starts a program, kills it at a random moment, starts it again, until it ends by itself.
//!
//! Half of the moments are anywhere. A save takes a hundredth of the time, so the other half come just after the flash
//! has begun to change. The moments follow from the seed; what the program was doing then depends on the machine.

use crate::Done;
use digits_workload::random::Pcg32;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long the flash goes on changing after a save has begun, about.
const SAVE: Duration = Duration::from_millis(12);

/// How long the last start may take, on a busy machine.
const LAST: Duration = Duration::from_secs(300);

/// How long a save is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills it at most `kills` times, then lets it run to its end. How often it was, and how often of those while the flash was
/// changing, is written to `killed`: a run may come to its end before.
pub fn kill(kills: u32, seed: u64, life: u64, flash: &Path, killed: &Path, program: &[String]) -> Done {
    let mut random = Pcg32::new(seed);
    let (mut times, mut in_flash) = (0, 0);
    let status = loop {
        let mut child = start(program)?;
        if times == kills {
            if let Some(status) = live(&mut child, LAST, || false)? {
                break status;
            }
            child.kill()?;
            child.wait()?;
            return Err("it does not come to its end".into());
        }
        // Up to twice the average.
        let life = Duration::from_millis(life * 2).mul_f32(random.symmetric(0.5) + 0.5);
        let watch = random.symmetric(1.0) > 0.0;
        let delay = SAVE.mul_f32(random.symmetric(0.5) + 0.5);
        let mut ended = live(&mut child, life, || false)?;
        if watch && ended.is_none() {
            let before = changed(flash);
            ended = live(&mut child, PATIENCE, || changed(flash) != before)?;
            if ended.is_none() {
                thread::sleep(delay);
            }
        }
        if let Some(status) = ended {
            break status;
        }
        child.kill()?;
        // It may have come to its end in the meantime; then it was not killed.
        let status = child.wait()?;
        if status.code().is_some() {
            break status;
        }
        times += 1;
        in_flash += u32::from(watch);
    };
    fs::write(killed, format!("{times} {in_flash}\n"))?;
    if status.success() { Ok(()) } else { Err(format!("after {times} kills the run failed: {status}").into()) }
}

fn start(program: &[String]) -> std::io::Result<Child> {
    let (name, arguments) = program.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    Command::new(name).args(arguments).stdin(Stdio::null()).spawn()
}

/// Lets it live so long, or until `enough`; its status if it ended before.
fn live(child: &mut Child, life: Duration, enough: impl Fn() -> bool) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + life;
    while Instant::now() < end && !enough() {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(None)
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
