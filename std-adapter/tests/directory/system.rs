//! The computer's own file operations and home directory, which a [`Directory`] stands on.

use std::fs;
use std::path::Path;
use std::process::Command;
use training_monitor_std::Directory;
use training_monitor_std::directory::{FileSystem, OpenError, RealFs};

#[test]
fn what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(RealFs.is_dir(dir.path()) && !RealFs.is_dir(&file) && !RealFs.is_dir(&dir.path().join("none")));
    assert!(RealFs.exists(&file).unwrap() && RealFs.exists(dir.path()).unwrap());
    assert!(!RealFs.exists(&dir.path().join("none")).unwrap());
    // Whatever cannot be looked at is not known to be away.
    #[cfg(unix)]
    RealFs.exists(&file.join("below")).unwrap_err();
    #[cfg(unix)]
    {
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(RealFs.exists(&link).unwrap());
    }
}

/// A pipe has nothing to sync, and the system says so: it was asked.
#[cfg(target_os = "linux")]
#[test]
fn the_system_is_asked_to_sync() {
    use std::io::ErrorKind;
    use std::os::fd::OwnedFd;

    let (_read, write) = std::io::pipe().unwrap();
    let error = RealFs.sync(&mut fs::File::from(OwnedFd::from(write))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(RealFs.sync_dir(Path::new("not/there")).unwrap_err().kind(), ErrorKind::NotFound);
    // Nor has this device, as a directory of a file system without that operation.
    RealFs.sync_dir(Path::new("/dev/null")).unwrap();
}

/// What a cut left of the very first save is no reason to refuse, and everything else is; without a prefix, too, where
/// every name begins with it.
#[test]
fn a_directory_that_is_as_good_as_empty() {
    for (name, refused) in [
        (".model_1.ckpt.0.tmp", false),
        (".model_1.ckpt.0.gone", true),
        (".model_1.ckpt.1.tmp", true), // of another prefix
        ("model_1.ckpt", true),
        ("note.txt", true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), "TMCK").unwrap();
        let found = match Directory::builder(dir.path(), "").open() {
            Err(OpenError::NotEmpty { found, .. }) => Some(found),
            Err(error) => panic!("{name}: {error}"),
            Ok(_) => None,
        };
        assert_eq!(found.as_deref(), refused.then_some(name));
    }
}

/// The test runs again with a home of its own, since a program must not change its environment.
#[cfg(unix)]
#[test]
fn a_directory_at_home() {
    const TEST: &str = "system::a_directory_at_home";
    let of_run = "OPENED_AT_HOME";
    if std::env::var_os(of_run).is_some() {
        let directory = Directory::builder("~/runs/one", "p").open().unwrap();
        assert_eq!(Some(directory.path()), std::env::home_dir().map(|home| home.join("runs/one")).as_deref());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    let output = again.args(["--exact", TEST]).env("HOME", home.path()).env(of_run, "").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(home.path().join("runs/one").is_dir());
}
