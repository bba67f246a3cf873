//! The scan for NaN and infinities where what it adds up could hide them, and what else can be scanned.

use training_monitor::finite::{Finite, all_finite};

/// Two numbers that are none do not make one that is: every pair of places, in slices of every small length.
#[test]
fn a_second_nan_does_not_hide_the_first() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for len in 1..48_usize {
            for first in 0..len {
                for second in first..len {
                    let mut values = vec![1.0_f32; len];
                    values[first] = bad;
                    values[second] = bad;
                    assert!(!all_finite(&values), "{len}: {first}, {second}");
                    assert_eq!(training_monitor::finite::first_non_finite(&values), Some(first));
                }
            }
        }
    }
}

#[test]
fn what_is_lent_or_collected_is_looked_at() {
    let mut collected = heapless_vec(&[1.0, 2.0]);
    assert!(collected.is_finite() && Finite::is_finite(&&mut collected));
    collected.push(f32::NAN).unwrap();
    assert!(!collected.is_finite() && !Finite::is_finite(&&mut collected) && !Finite::is_finite(&&collected));
    assert!(Finite::is_finite(&5_u32) && Finite::is_finite(&true) && Finite::is_finite(&()));
}

fn heapless_vec(values: &[f32]) -> heapless::Vec<f32, 4> {
    heapless::Vec::from_slice(values).unwrap()
}
