//! training-monitor-std
