//! Tests of the checkpoint directory: on the file system of the operating system, on a simulated disk with failing
//! operations, and on a simulated disk with power failures.

mod failing_operations;
mod identity;
mod interrupted_commits;
mod limits;
mod locks;
mod operating_system;
mod power_failures;
mod read_only;
mod real_file_system;
mod recording_disk;
mod resume;
mod save_operations;
mod single_file;
mod training;
