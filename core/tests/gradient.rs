//! Tests of gradient clipping: elements that are not finite, sums of squares that overflow or underflow, accuracy, and
//! empty gradients.

use training_monitor::ConfigError;
use training_monitor::gradient::{GradientLimit, l2_norm, largest_magnitude};

fn limit(limit: f32) -> GradientLimit {
    GradientLimit::new(limit).unwrap()
}

/// The L2 norm in f64, which neither overflows nor underflows.
fn exact_norm(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

fn norm_of(values: &[f32]) -> f32 {
    l2_norm(|visit| visit(&mut values.to_vec()))
}

/// Asserts that the norm is accurate, and that clipping to `max` makes it at most `max`.
fn check(values: &[f32], max: f32) {
    let exact = exact_norm(values);
    let norm = norm_of(values);
    if exact <= f64::from(f32::MAX) {
        // A subnormal norm has the accuracy of the subnormal numbers, which differ by 1.4 · 10⁻⁴⁵.
        assert!((f64::from(norm) - exact).abs() <= 1e-5 * exact + 0.8e-45, "{norm} {exact}");
    } else {
        assert_eq!(norm, f32::MAX);
    }
    let mut clipped = values.to_vec();
    assert_eq!(limit(max).clip_norm(|clip| clip(&mut clipped)), norm);
    let factor = (f64::from(max) / (exact + 1e-6)).min(1.0);
    assert!(exact_norm(&clipped) <= f64::from(max) * (1.0 + 1e-5) + 1e-44);
    for (before, after) in values.iter().zip(&clipped) {
        let expected = f64::from(*before) * factor;
        let allowed = 1e-5 * expected.abs() + 1e-6 * f64::from(max);
        assert!((f64::from(*after) - expected).abs() <= allowed, "{before} → {after}, expected {expected}");
    }
}

#[test]
fn invalid_limits_are_refused() {
    for value in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(GradientLimit::new(value), Err(ConfigError::GradientLimit), "{value}");
    }
    assert!(GradientLimit::new(f32::MIN_POSITIVE).is_ok() && GradientLimit::new(f32::MAX).is_ok());
}

#[test]
fn the_norm_of_nothing_is_zero() {
    assert_eq!((l2_norm(|_| ()), largest_magnitude(|_| ())), (0.0, 0.0));
    let limit = limit(1.0);
    assert_eq!((limit.clip_norm(|clip| clip(&mut [])), limit.clip_largest(|clip| clip(&mut []))), (0.0, 0.0));
    limit.clip_values(|clip| clip(&mut []));
    assert_eq!((norm_of(&[0.0, -0.0]), norm_of(&[0.0; 100])), (0.0, 0.0));
}

#[test]
fn a_gradient_below_the_limit_keeps_its_bits() {
    let mut values = [0.3, -0.4, -0.0, 1.0e-45];
    let bits = values.map(f32::to_bits);
    assert_eq!(limit(10.0).clip_norm(|clip| clip(&mut values)), 0.5);
    assert_eq!(limit(10.0).clip_largest(|clip| clip(&mut values)), 0.4);
    limit(10.0).clip_values(|clip| clip(&mut values));
    assert_eq!(values.map(f32::to_bits), bits);
}

#[test]
fn a_gradient_that_is_not_finite_stays_unchanged() {
    for (bad, nan) in [(f32::NAN, true), (f32::INFINITY, false), (f32::NEG_INFINITY, false)] {
        for len in [1, 5, 31, 32, 33, 100, 5000] {
            for position in [0, len / 2, len - 1] {
                let mut values = vec![f32::MAX; len];
                values[position] = bad;
                let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
                let norms =
                    [limit(1.0).clip_norm(|clip| clip(&mut values)), limit(1.0).clip_largest(|clip| clip(&mut values))];
                for norm in norms {
                    assert!(if nan { norm.is_nan() } else { norm == f32::INFINITY }, "{bad} {norm}");
                }
                assert_eq!(values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
            }
        }
    }
    // A NaN is reported even beside an infinity.
    assert!(norm_of(&[f32::INFINITY, f32::NAN]).is_nan());
    assert!(largest_magnitude(|visit| visit(&mut [f32::NAN, f32::INFINITY])).is_nan());
}

#[test]
fn clipping_by_value_limits_infinities_and_keeps_a_nan() {
    let mut values = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 3.0, -3.0, 2.0, 0.5, -0.0];
    limit(2.0).clip_values(|clip| clip(&mut values));
    assert!(values[2].is_nan());
    assert_eq!(values.map(f32::to_bits)[3..], [2.0_f32, -2.0, 2.0, 0.5, -0.0].map(f32::to_bits));
    assert_eq!(values[..2], [2.0, -2.0]);
}

#[test]
fn the_sum_of_squares_neither_overflows_nor_underflows() {
    for len in [1, 2, 3, 31, 32, 40, 3000] {
        for magnitude in [
            1.0e-45,
            1.0e-40,
            1.0e-38,
            1.0e-30,
            1.0e-20,
            1.0e-15,
            1.0,
            1.0e15,
            1.0e18,
            2.0e19,
            1.0e30,
            1.0e38,
            f32::MAX,
        ] {
            let values: Vec<f32> = (0..len).map(|index| if index % 2 == 0 { magnitude } else { -magnitude }).collect();
            check(&values, 1.0);
            check(&values, 1.0e-20);
            check(&values, 1.0e30);
        }
    }
    // Large and small elements together.
    check(&[f32::MAX, 1.0, 1.0e-45, -1.0e20], 5.0);
    check(&[1.0e-30, 1.0e-45, -1.0e-38, 0.0], 1.0e-3);
}

/// The norm of two elements of `f32::MAX` is not an `f32`, but the clipped gradient is.
#[test]
fn a_norm_above_the_largest_number_is_clipped_by_its_exact_value() {
    let mut values = [f32::MAX, f32::MAX];
    assert_eq!(limit(1.0).clip_norm(|clip| clip(&mut values)), f32::MAX);
    for value in values {
        assert!((value - 0.5_f32.sqrt()).abs() < 1e-6, "{value}");
    }
    // With this limit, the scaled numbers are large, too.
    let mut values = vec![f32::MAX; 4];
    limit(f32::MAX).clip_norm(|clip| clip(&mut values));
    assert!(values.iter().all(|value| (value / f32::MAX - 0.5).abs() < 1e-5), "{values:?}");
}

/// Equal elements have the same rounding error in every addition, so a sum in one variable would be wrong by 10⁻³.
#[test]
fn the_norm_of_a_million_elements_is_accurate() {
    for value in [0.1, 1.0e-3, 0.7, 1.234_567_8] {
        check(&vec![value; 1_000_003], 1.0);
    }
    let rising: Vec<f32> = (0..1_000_000).map(|index| index as f32 * 1.0e-3).collect();
    check(&rising, 1.0);
}

#[test]
fn all_slices_form_one_gradient() {
    let (mut a, mut b, mut c) = ([1.0, 2.0], [2.0; 1], [4.0; 1]);
    let norm = limit(2.5).clip_norm(|clip| {
        clip(&mut a);
        clip(&mut b);
        clip(&mut c);
    });
    assert_eq!(norm, 5.0);
    for (found, expected) in a.iter().chain(&b).chain(&c).zip([0.5, 1.0, 1.0, 2.0]) {
        assert!((found - expected).abs() < 1e-6);
    }
    let largest = limit(1.0).clip_largest(|clip| {
        clip(&mut a);
        clip(&mut c);
    });
    assert!((largest - 2.0).abs() < 1e-6 && (c[0] - 1.0).abs() < 2e-6 && (a[1] - 0.5).abs() < 1e-6);
}

/// torch adds 10⁻⁶ to the norm, so a norm that is equal to the limit is clipped a little.
#[test]
fn the_factor_is_that_of_torch() {
    let mut values = [0.001];
    limit(0.001).clip_norm(|clip| clip(&mut values));
    assert!((values[0] - 0.001 * (0.001 / 0.001_001)).abs() < 1e-9);
    let mut values = [0.001];
    limit(0.001).clip_largest(|clip| clip(&mut values));
    assert!((values[0] - 0.001 * (0.001 / 0.001_001)).abs() < 1e-9);
}

/// The factor and also its rest after the first step are subnormal numbers or 0. Rounding them would change the gradient
/// by more than the rounding of its elements.
#[test]
fn a_tiny_limit_of_a_huge_gradient_is_accurate() {
    for maximum in [1.0e-36, 3.0e-37, 1.0e-30, f32::MIN_POSITIVE] {
        let (mut by_norm, mut by_largest) = ([f32::MAX, 0.0], [0.0, f32::MIN]);
        limit(maximum).clip_norm(|clip| clip(&mut by_norm));
        limit(maximum).clip_largest(|clip| clip(&mut by_largest));
        for ratio in [by_norm[0] / maximum, -by_largest[1] / maximum] {
            assert!((ratio - 1.0).abs() < 1e-5, "{maximum}: {ratio}");
        }
    }
}
