//! Tests of the settings of `EarlyStopping`. The package `training-monitor-tests` tests its decisions and compares them
//! with Ignite.

use training_monitor::ConfigError;
use training_monitor::EarlyStopping;
use training_monitor::handlers::early_stopping::ThresholdMode;

#[test]
fn an_invalid_patience_or_threshold_is_rejected() {
    assert_eq!(EarlyStopping::new(0), Err(ConfigError::Patience));
    let stopping = EarlyStopping::new(1).expect("1 is valid");
    for threshold in [-0.5, -1e-45, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for mode in [ThresholdMode::Abs, ThresholdMode::Rel] {
            let result = stopping.with_threshold(threshold, mode);
            assert_eq!(result, Err(ConfigError::Threshold), "{threshold}");
        }
    }
    assert!(stopping.with_threshold(-0.0, ThresholdMode::Abs).is_ok());
    assert!(ConfigError::Patience.to_string().contains("at least 1"));
}

#[test]
fn patience_returns_the_configured_patience() {
    assert_eq!(EarlyStopping::new(7).unwrap().patience(), 7);
}
