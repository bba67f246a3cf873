//! The training monitor on a host.

#![forbid(unsafe_code)]

pub mod chart;
mod checksum;
mod clock;
pub mod directory;
pub mod history;
mod progress;

pub use checksum::Crc32Fast;
pub use clock::StdClock;
pub use directory::Directory;
pub use history::History;
pub use progress::{Progress, ProgressHandler};
