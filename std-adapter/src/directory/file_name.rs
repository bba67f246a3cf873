//! What a checkpoint's file is called: Ignite 0.2.0's names.
//!
//! `{prefix}_{object}_{step}[_{score_name}={score}].{extension}`, where the score is the absolute value with seven
//! significant digits as Python's `"{:.7}"` writes them: scientific from 10⁶ and below 10⁻⁴, at least one digit
//! after a point. The sign is not in the name; it is in the checkpoint. An empty prefix leaves out its `_`.
//! Firmware that knows checkpoints by number never links this file.
//!
//! ```
//! use training_monitor_std::directory::{FileName, ScoreText};
//!
//! let name = FileName { prefix: "myprefix", object: "mymodel", step: 4, score: Some(("val_loss", -0.25)), extension: "ckpt" };
//! assert_eq!(name.to_string(), "myprefix_mymodel_4_val_loss=0.25.ckpt");
//! assert_eq!(ScoreText(1_000_000.0).to_string(), "1e+06");
//! assert_eq!(ScoreText(1.0 / 3.0).to_string(), "0.3333333");
//! assert_eq!(ScoreText(-100.0).to_string(), "100.0");
//! assert_eq!(ScoreText(0.000_012_345_679).to_string(), "1.234568e-05");
//! assert_eq!(ScoreText(f32::NEG_INFINITY).to_string(), "inf");
//! ```

use core::fmt::{self, Write};

/// The name of one object's file.
#[derive(Clone, Copy, Debug)]
pub struct FileName<'a> {
    /// `filename_prefix`.
    pub prefix: &'a str,
    /// The object's name.
    pub object: &'a str,
    /// The step number.
    pub step: u32,
    /// The score's name and value, if it is to be in the name.
    pub score: Option<(&'a str, f32)>,
    /// Without the dot.
    pub extension: &'a str,
}

impl fmt::Display for FileName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileName { prefix, object, step, extension, .. } = self;
        if !prefix.is_empty() {
            write!(f, "{prefix}_")?;
        }
        write!(f, "{object}_{step}")?;
        if let Some((name, score)) = self.score {
            write!(f, "_{name}={}", ScoreText(score))?;
        }
        write!(f, ".{extension}")
    }
}

/// The absolute value of a score as it stands in a name.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScoreText(
    /// The score.
    pub f32,
);

impl fmt::Display for ScoreText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Python rounds the f64 that the f32 widens to.
        let value = f64::from(self.0).abs();
        if !value.is_finite() {
            return f.write_str(if value.is_nan() { "nan" } else { "inf" });
        }
        // "d.dddddde-x": rounded correctly, so the digits and the exponent are Python's.
        let mut text = String::new();
        write!(text, "{value:.6e}")?;
        let (mantissa, exponent) = text.split_once('e').ok_or(fmt::Error)?;
        let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
        let (whole, fraction) = mantissa.split_once('.').ok_or(fmt::Error)?;
        let fraction = fraction.trim_end_matches('0');
        if !(-4..6).contains(&exponent) {
            let point = if fraction.is_empty() { "" } else { "." };
            let sign = if exponent < 0 { '-' } else { '+' };
            return write!(f, "{whole}{point}{fraction}e{sign}{:02}", exponent.unsigned_abs());
        }
        if exponent < 0 {
            f.write_str("0.")?;
            (1..exponent.unsigned_abs()).try_for_each(|_| f.write_char('0'))?;
            return write!(f, "{whole}{fraction}");
        }
        // The point moves right past `exponent` digits, over zeros where the digits have ended.
        f.write_str(whole)?;
        let mut digits = fraction.chars();
        (0..exponent).try_for_each(|_| f.write_char(digits.next().unwrap_or('0')))?;
        let rest = digits.as_str();
        write!(f, ".{}", if rest.is_empty() { "0" } else { rest })
    }
}
