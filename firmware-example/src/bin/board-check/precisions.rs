//! Compares a run with 8-bit weights with the run of the same network with `f32` weights.

use crate::CheckResult;
use std::error::Error;
use std::fs;
use std::path::Path;

/// Largest number of percentage points by which the test accuracy of the run with 8-bit weights may be lower.
const MAX_ACCURACY_LOSS: f64 = 1.5;
/// Largest size of its checkpoint, as a fraction of the other one.
const MAX_SIZE_RATIO: f64 = 0.25;

/// The results of a run that are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunResult {
    /// Size of the largest checkpoint in bytes.
    pub bytes: u32,
    /// Fraction of correctly classified test images.
    pub accuracy: f64,
}

impl RunResult {
    /// Reads the results from the decoded log of a run. Returns `None` if a result is missing.
    pub fn from_log(log: &str) -> Option<Self> {
        let saved = log.lines().filter_map(|line| line.split_once(": saved step ")?.1.split_once(" bytes"));
        let bytes = saved.filter_map(|(step_and_bytes, _)| step_and_bytes.rsplit_once(' ')?.1.parse().ok()).max()?;
        let test = log.lines().find_map(|line| line.strip_prefix("test: loss "))?;
        let accuracy = test.split_once(", accuracy ")?.1.parse().ok()?;
        Some(RunResult { bytes, accuracy })
    }
}

/// Returns the limits that the run with 8-bit weights exceeds.
pub fn exceeded_limits(float: RunResult, quantized: RunResult) -> Vec<String> {
    let mut exceeded = Vec::new();
    if f64::from(quantized.bytes) > MAX_SIZE_RATIO * f64::from(float.bytes) {
        exceeded.push(format!("the checkpoint has more than {MAX_SIZE_RATIO} of the bytes"));
    }
    if quantized.accuracy * 100.0 < float.accuracy * 100.0 - MAX_ACCURACY_LOSS {
        exceeded.push(format!("the test accuracy is more than {MAX_ACCURACY_LOSS} percentage points lower"));
    }
    exceeded
}

/// Prints the results of both runs side by side. Fails if the run with 8-bit weights exceeds a limit.
pub fn compare(network: &str, float: &Path, quantized: &Path) -> CheckResult {
    let read = |path: &Path| -> Result<RunResult, Box<dyn Error>> {
        let result = RunResult::from_log(&fs::read_to_string(path)?);
        Ok(result.ok_or_else(|| format!("{}: no saved checkpoint or no test accuracy", path.display()))?)
    };
    let (float, quantized) = (read(float)?, read(quantized)?);
    println!(
        "{network} with f32 and int8 weights: test accuracy {:.2} % and {:.2} %, checkpoint {} and {} bytes (ratio {:.3})",
        float.accuracy * 100.0,
        quantized.accuracy * 100.0,
        float.bytes,
        quantized.bytes,
        f64::from(quantized.bytes) / f64::from(float.bytes)
    );
    let exceeded = exceeded_limits(float, quantized);
    if exceeded.is_empty() {
        Ok(())
    } else {
        Err(format!("{network} with int8 weights: {}", exceeded.join("; ")).into())
    }
}
