//! A thread that computes the statistics of tensors while another thread reads the same file and computes its checksum.

use super::{Payload, compute_stats};
use crate::tool::stats::TensorStats;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use training_monitor::checkpoint::ElementType;

pub struct StatsThread {
    tensors: Sender<(ElementType, Payload)>,
    thread: JoinHandle<Vec<Option<TensorStats>>>,
}

impl StatsThread {
    pub fn start() -> StatsThread {
        let (tensors, received) = channel::<(ElementType, Payload)>();
        // A tensor that cannot be read has no statistics. A command that shows them reads it again, and returns the error.
        let thread =
            thread::spawn(move || received.iter().map(|(kind, payload)| compute_stats(kind, &payload).ok()).collect());
        StatsThread { tensors, thread }
    }

    /// Adds a tensor.
    pub fn add(&self, element_type: ElementType, payload: Payload) {
        // Sending fails only if the thread has panicked. `finish` passes on its panic.
        drop(self.tensors.send((element_type, payload)));
    }

    /// Waits for the statistics of all tensors. Returns them in the order of the calls of [`add`](Self::add).
    pub fn finish(self) -> Vec<Option<TensorStats>> {
        drop(self.tensors);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
