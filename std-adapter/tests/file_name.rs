//! File names of checkpoints. The text of a score in a file name equals that of Python's `"{:.7}".format(abs(score))`.

use training_monitor_std::directory::{FileName, ScoreText};
use training_monitor_std::test_support::random::Random;

/// The bits of an f32, and its text in Python 3: numbers at the limits of the number formats, then random numbers.
const PYTHON: [(u32, &str); 37] = [
    (0x0000_0000, "0.0"),
    (0x38D1_B717, "0.0001"),
    (0x38D1_B716, "9.999999e-05"),
    (0x3A83_126E, "0.0009999999"),
    (0x4974_23F6, "999999.4"),
    (0x4974_23FE, "999999.9"),
    (0x4974_23FF, "999999.9"),
    (0x4974_2400, "1e+06"),
    (0x4974_2401, "1e+06"),
    (0x47F1_2065, "123456.8"),
    (0x5A0E_1BCA, "1e+16"),
    (0x7F7F_FFFF, "3.402823e+38"),
    (0x0000_0001, "1.401298e-45"),
    (0x3DCC_CCCD, "0.1"),
    (0x3E99_999A, "0.3"),
    (0x4B80_0000, "1.677722e+07"),
    (0x47C3_4FFF, "99999.99"),
    (0x3F00_0000, "0.5"),
    (0x42C8_0000, "100.0"),
    (0x411F_FFFF, "9.999999"),
    (0x4B18_967F, "9.999999e+06"),
    (0x4996_B438, "1.234567e+06"),
    (0x3727_C5AC, "1e-05"),
    (0x0080_0000, "1.175494e-38"),
    (0x2973_5A1C, "5.4035e-14"),
    (0x7953_A6F2, "6.868504e+34"),
    (0x134F_069B, "2.613033e-27"),
    (0x3289_9387, "1.601599e-08"),
    (0x5351_D228, "9.01174e+11"),
    (0x062E_3FE8, "3.277271e-35"),
    (0x0945_9799, "2.378429e-33"),
    (0x691F_8412, "1.205268e+25"),
    (0x4497_C815, "1214.253"),
    (0x0C0C_7408, "1.082012e-31"),
    (0x2ECE_E4FC, "9.408471e-11"),
    (0x4A98_CC2E, "5.006871e+06"),
    (0x7471_2ECA, "7.643387e+31"),
];

#[test]
fn the_text_of_a_score_equals_that_of_python() {
    for (bits, text) in PYTHON {
        let score = f32::from_bits(bits);
        assert_eq!(ScoreText(score).to_string(), text, "{bits:#010X}");
        // The text contains the absolute value, so a negative score gives the text of the positive one.
        assert_eq!(ScoreText(-score).to_string(), text, "-{bits:#010X}");
    }
    assert_eq!(ScoreText(f32::NAN).to_string(), "nan");
    assert_eq!(ScoreText(-f32::NAN).to_string(), "nan");
    assert_eq!(ScoreText(f32::INFINITY).to_string(), "inf");
    assert_eq!(ScoreText(f32::NEG_INFINITY).to_string(), "inf");
}

/// The text has the nearest number with seven significant digits. It uses the scientific format if the exponent is
/// below -4 or above 5. A decimal point has a digit on each side.
#[test]
fn the_text_of_a_score_has_seven_digits_and_the_right_format() {
    let mut random = Random::new(1);
    for _ in 0..200_000 {
        let score = f32::from_bits(random.below(0x7F80_0000) as u32);
        let text = ScoreText(score).to_string();
        let written: f64 = text.parse().expect("a number");
        let exact = f64::from(score);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, ""));
        let digits = mantissa.replace('.', "").trim_start_matches('0').len();
        // An integer has a zero after the decimal point: "100.0".
        assert!(digits <= 7 || (digits == 8 && mantissa.ends_with(".0")), "{text}");
        // The text has seven significant digits. Its rounding error is half a unit of the last digit, so at most 5e-7
        // of the value.
        assert!((written - exact).abs() <= 5.000_000_1e-7 * exact, "{text} for {exact:e}");
        let is_scientific = !exponent.is_empty();
        assert_eq!(is_scientific, score != 0.0 && !(1e-4..1e6).contains(&written), "{text}");
        if is_scientific {
            assert!(exponent.len() >= 3 && exponent.starts_with(['+', '-']), "{text}");
            assert!(!mantissa.ends_with('0') || mantissa.len() == 1, "{text}");
        } else {
            let (integer, fraction) = mantissa.split_once('.').expect("a decimal point");
            assert!(!integer.is_empty() && (fraction == "0" || !fraction.ends_with('0')), "{text}");
        }
    }
}

#[test]
fn a_file_name_contains_prefix_object_step_score_and_extension() {
    let name = |prefix, score| FileName { prefix, object: "mymodel", step: 12, score, extension: "pth" }.to_string();
    assert_eq!(name("myprefix", None), "myprefix_mymodel_12.pth");
    assert_eq!(name("myprefix", Some(("val_loss", -0.5))), "myprefix_mymodel_12_val_loss=0.5.pth");
    assert_eq!(name("", None), "mymodel_12.pth");
}
