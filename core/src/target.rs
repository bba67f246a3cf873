//! What the library is compiled for.

/// Whether the target is a 64-bit host, where tables and names can be large, and where speed is more important than the
/// size of code and stack.
pub const HOST: bool = cfg!(target_pointer_width = "64");
