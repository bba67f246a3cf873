//! training-monitor-tests
