//! The output directory of a run.

use super::arguments::Arguments;
use super::settings::UsageError;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Returns the path of the output directory in a form that can be renamed: without a trailing separator, and as an
/// absolute path if its last part is `.` or `..`. Changes no file.
///
/// # Errors
/// Returns a [`UsageError`] if the path cannot be the directory of this run.
pub fn find_directory(arguments: &Arguments) -> Result<PathBuf, Box<dyn Error>> {
    let mut directory: PathBuf = arguments.directory.components().collect();
    if !directory.exists() {
        return Ok(directory);
    }
    let refuse = |text: &str| Err(UsageError(format!("--directory {}: {text}", arguments.directory.display())).into());
    if !directory.is_dir() {
        return refuse("this is not a directory");
    }
    let absolute = directory.canonicalize()?;
    if !arguments.resume
        && is_used(&directory)
        && env::current_dir().is_ok_and(|current| current.starts_with(&absolute))
    {
        return refuse(
            "a new run renames a directory that is not empty, but this one contains the current directory; use another \
             directory, or --resume",
        );
    }
    if directory.file_name().is_none() {
        directory = absolute;
    }
    Ok(directory)
}

fn is_used(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// Renames `directory` if it is not empty, so that a new run does not overwrite the files of an earlier run. The new
/// name is the old one with the first unused number appended, for example `digits.1`. Returns it.
///
/// # Errors
/// Returns the error of the operating system.
pub fn rename_existing(directory: &Path) -> io::Result<Option<PathBuf>> {
    if !is_used(directory) {
        return Ok(None);
    }
    let numbered = |number: u32| {
        let mut name = directory.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let free = (1..).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| numbered(u32::MAX));
    fs::rename(directory, &free)?;
    Ok(Some(free))
}
