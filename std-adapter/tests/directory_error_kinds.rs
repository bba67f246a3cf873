//! The errors of the directory store have the kind and the message of the I/O error that caused them.

use std::error::Error;
use std::io::ErrorKind as Io;
use training_monitor::embedded_io::{Error as _, ErrorKind};
use training_monitor_std::directory::{DirectoryError, OpenError, Operation};

#[test]
fn a_directory_error_has_the_kind_of_its_cause() {
    let error = |kind: Io| DirectoryError::Io { operation: Operation::Read, path: "a".into(), cause: kind.into() };
    for (kind, expected) in [
        (Io::NotFound, ErrorKind::NotFound),
        (Io::PermissionDenied, ErrorKind::PermissionDenied),
        (Io::ReadOnlyFilesystem, ErrorKind::PermissionDenied),
        (Io::AlreadyExists, ErrorKind::AlreadyExists),
        (Io::InvalidInput, ErrorKind::InvalidInput),
        (Io::InvalidData, ErrorKind::InvalidData),
        (Io::TimedOut, ErrorKind::TimedOut),
        (Io::Interrupted, ErrorKind::Interrupted),
        (Io::Unsupported, ErrorKind::Unsupported),
        (Io::OutOfMemory, ErrorKind::OutOfMemory),
        (Io::WriteZero, ErrorKind::WriteZero),
        (Io::StorageFull, ErrorKind::Other),
    ] {
        assert_eq!(error(kind).kind(), expected, "{kind:?}");
        // The message contains that of the cause, so a chain of errors must not print it again.
        assert!(error(kind).to_string().contains(&std::io::Error::from(kind).to_string()));
        assert!(error(kind).source().is_none() && OpenError::Directory(error(kind)).source().is_none());
    }
    assert_eq!(DirectoryError::FileExists { path: "a".into() }.kind(), ErrorKind::AlreadyExists);
    assert_eq!(DirectoryError::InvalidFileName { name: "a".into() }.kind(), ErrorKind::InvalidInput);
    assert_eq!(DirectoryError::NoCheckpoint { path: "a".into(), sequence: 1 }.kind(), ErrorKind::NotFound);
    assert_eq!(DirectoryError::ReadOnly { path: "a".into() }.kind(), ErrorKind::PermissionDenied);
    let too_long = DirectoryError::NameTooLong { name: "a".into(), len: 256, limit: 255 };
    assert_eq!(too_long.kind(), ErrorKind::InvalidInput);
    assert_eq!(DirectoryError::IncompleteSave.kind(), ErrorKind::InvalidData);
    assert!(
        DirectoryError::IncompleteSave.source().is_none()
            && OpenError::InvalidPrefix { prefix: "a".into() }.source().is_none()
    );
}
