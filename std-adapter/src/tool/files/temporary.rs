//! Creates the temporary file of an output, and removes it if a signal ends the program, for example after Ctrl-C.

#[cfg(unix)]
pub use unix::{create, forget};

/// Creates a file. This system has no such signals.
#[cfg(not(unix))]
pub fn create(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    std::fs::File::create_new(path)
}

/// Does nothing: this system has no such signals.
#[cfg(not(unix))]
pub fn forget() {}

#[cfg(unix)]
mod unix {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::flag;
    use signal_hook::low_level::{emulate_default_handler, pipe};
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, Once, PoisonError};

    /// The temporary file that exists now. A command writes one file at a time.
    static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);
    static START: Once = Once::new();

    /// Creates a file that is removed before a signal ends the program, until [`forget`] is called.
    pub fn create(path: &Path) -> io::Result<File> {
        START.call_once(|| {
            // Without the signals, the file stays after Ctrl-C. The command works all the same.
            let _ = start();
        });
        // The thread that removes the file waits for the lock, so it never misses a file that was just created.
        let mut place = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        let file = File::create_new(path)?;
        *place = Some(path.to_owned());
        Ok(file)
    }

    /// The temporary file no longer exists, or its owner removes it.
    pub fn forget() {
        *FILE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts the thread that waits for the signals.
    fn start() -> io::Result<()> {
        let (mut receiver, sender) = UnixStream::pair()?;
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGHUP, SIGINT, SIGTERM] {
            flag::register_usize(number, Arc::clone(&signal), number as usize)?;
            pipe::register(number, sender.try_clone()?)?;
        }
        std::thread::spawn(move || {
            if receiver.read_exact(&mut [0]).is_ok() {
                if let Some(file) = &*FILE.lock().unwrap_or_else(PoisonError::into_inner) {
                    let _ = std::fs::remove_file(file);
                }
                let _ = emulate_default_handler(signal.load(Ordering::Relaxed) as i32);
            }
        });
        Ok(())
    }
}
