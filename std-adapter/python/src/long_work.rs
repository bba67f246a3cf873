//! Runs long work without the lock of the interpreter. A signal, such as Ctrl-C, cancels the work.

use crate::error::exception;
use pyo3::prelude::*;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use training_monitor_std::tool::error::Result;
use training_monitor_std::tool::stream::with_cancellation;

/// The time between two checks for signals.
pub const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs `work` in another thread. Meanwhile this thread handles signals. If the handler of a signal raises an exception,
/// for example `KeyboardInterrupt`, the work is cancelled, and the exception is raised as soon as the work has ended.
pub fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    let cancellation = Arc::new(AtomicBool::new(false));
    py.detach(|| {
        thread::scope(|scope| {
            let (sender, finished) = channel::<()>();
            let worker = scope.spawn(|| {
                // Dropped when the work ends, also after a panic.
                let _sender = sender;
                with_cancellation(&cancellation, work)
            });
            let mut signal = Ok(());
            while let Err(RecvTimeoutError::Timeout) = finished.recv_timeout(SIGNAL_INTERVAL) {
                signal = Python::attach(|py| py.check_signals());
                if signal.is_err() {
                    cancellation.store(true, Ordering::Relaxed);
                    break;
                }
            }
            let result = worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            signal?;
            result.map_err(exception)
        })
    })
}
