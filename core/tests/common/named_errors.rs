//! A check for errors that contain the name of a tensor or value.

/// Checks that a result is the error `$variant`, and that the name in this error is `$name`. The other fields of the
/// error are ignored.
macro_rules! assert_named_error {
    ($result:expr, $($variant:ident)::+, $name:expr $(,)?) => {
        match $result {
            Err($($variant)::+ { name, .. }) => assert_eq!(name.as_str(), $name),
            other => panic!("expected {} for the name {:?}, found {other:?}", stringify!($($variant)::+), $name),
        }
    };
}
