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

/// Kills it `kills` times, then lets it run to its end.
pub fn kill(kills: u32, seed: u64, life: u64, flash: &Path, program: &[String]) -> Done {
    let (name, arguments) = program.split_first().ok_or("no program")?;
    let mut random = Pcg32::new(seed);
    let mut killed = 0;
    let mut in_flash = 0;
    for _ in 0..kills {
        let mut child = Command::new(name).args(arguments).stdin(Stdio::null()).spawn()?;
        // Up to twice the average.
        let life = Duration::from_millis(life * 2).mul_f32(random.symmetric(0.5) + 0.5);
        let watch = random.symmetric(1.0) > 0.0;
        let delay = SAVE.mul_f32(random.symmetric(0.5) + 0.5);
        if let Some(status) = live(&mut child, life)? {
            return early(status, killed, in_flash);
        }
        if watch {
            let before = changed(flash);
            let patience = Instant::now() + Duration::from_secs(5);
            while changed(flash) == before && Instant::now() < patience {
                if let Some(status) = child.try_wait()? {
                    return early(status, killed, in_flash);
                }
                thread::sleep(Duration::from_micros(100));
            }
            thread::sleep(delay);
            in_flash += 1;
        }
        child.kill()?;
        child.wait()?;
        killed += 1;
    }
    let status = Command::new(name).args(arguments).stdin(Stdio::null()).status()?;
    early(status, killed, in_flash)
}

fn early(status: ExitStatus, killed: u32, in_flash: u32) -> Done {
    println!("killed {killed} times, {in_flash} of them while the flash was changing; then it ended: {status}");
    if status.success() { Ok(()) } else { Err("it failed".into()) }
}

/// Lets it live so long; its status if it ended before.
fn live(child: &mut Child, life: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + life;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
