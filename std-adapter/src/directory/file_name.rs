//! Names of checkpoint files, as Ignite 0.2.0 forms them.

use std::fmt::{self, Write};

/// The name of the file that stores one object of a checkpoint. [`Display`](fmt::Display) writes the name.
///
/// The pattern is `{prefix}_{object}_{step}[_{score_name}={score}].{extension}`. The name of a file without a prefix
/// begins with the object. The text of the score is the absolute value with seven significant digits, formatted as
/// Python's `"{:.7}"` formats it: scientific notation from 10⁶ and below 10⁻⁴, and at least one digit after the decimal
/// point otherwise. The file name omits the sign of the score; the checkpoint in the file stores the signed score.
///
/// ```
/// use training_monitor_std::directory::{FileName, ScoreText};
///
/// let name = FileName { prefix: "myprefix", object: "mymodel", step: 4, score: Some(("val_loss", -0.25)), extension: "ckpt" };
/// assert_eq!(name.to_string(), "myprefix_mymodel_4_val_loss=0.25.ckpt");
/// assert_eq!(ScoreText(1_000_000.0).to_string(), "1e+06");
/// assert_eq!(ScoreText(1.0 / 3.0).to_string(), "0.3333333");
/// assert_eq!(ScoreText(-100.0).to_string(), "100.0");
/// assert_eq!(ScoreText(0.000_012_345_679).to_string(), "1.234568e-05");
/// assert_eq!(ScoreText(f32::NEG_INFINITY).to_string(), "inf");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FileName<'a> {
    /// The first part of the file name. If the prefix is empty, the file name begins with the object.
    pub prefix: &'a str,
    /// The name of the object.
    pub object: &'a str,
    /// The step number of the checkpoint.
    pub step: u32,
    /// The name and the signed value of the score. If `None`, the file name contains no score.
    pub score: Option<(&'a str, f32)>,
    /// The file extension without the dot.
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

/// A score as it appears in a file name: the absolute value with seven significant digits. The implementation
/// of [`Display`](fmt::Display) writes the text.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScoreText(
    /// The signed score.
    pub f32,
);

impl fmt::Display for ScoreText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Convert the f32 to an f64 before rounding, as Python does. Rounding the f32 directly can give a different
        // last digit.
        let value = f64::from(self.0).abs();
        if !value.is_finite() {
            return f.write_str(if value.is_nan() { "nan" } else { "inf" });
        }
        // The format `{:.6e}` gives a correctly rounded text such as "1.234568e-5", with the same digits and exponent
        // as in Python.
        let text = format!("{value:.6e}");
        let (mantissa, exponent) = text.split_once('e').ok_or(fmt::Error)?;
        let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
        let (integer, fraction) = mantissa.split_once('.').ok_or(fmt::Error)?;
        let fraction = fraction.trim_end_matches('0');
        if !(-4..6).contains(&exponent) {
            let point = if fraction.is_empty() { "" } else { "." };
            let sign = if exponent < 0 { '-' } else { '+' };
            return write!(f, "{integer}{point}{fraction}e{sign}{:02}", exponent.unsigned_abs());
        }
        if exponent < 0 {
            f.write_str("0.")?;
            (1..exponent.unsigned_abs()).try_for_each(|_| f.write_char('0'))?;
            return write!(f, "{integer}{fraction}");
        }
        // Move the decimal point `exponent` digits to the right. Append zeros if the fraction has fewer digits.
        f.write_str(integer)?;
        let mut digits = fraction.chars();
        (0..exponent).try_for_each(|_| f.write_char(digits.next().unwrap_or('0')))?;
        let rest = digits.as_str();
        write!(f, ".{}", if rest.is_empty() { "0" } else { rest })
    }
}
