//! Runs the host simulation as a process, for the tests of its options.

#![allow(dead_code, missing_docs)] // Each test program uses a part of this module.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use training_monitor_std::history::{History, HistoryEvent};

/// A temporary directory, and the path of a run in it.
pub struct Home {
    pub temporary: TempDir,
    pub run: PathBuf,
}

/// The output of a finished process.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let run = temporary.path().join("run");
        Home { temporary, run }
    }

    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_digits"));
        command.arg("--directory").arg(&self.run).args(options);
        command
    }

    pub fn digits(&self, options: &[&str]) -> Finished {
        Finished::new(self.command(options).arg("--quiet").output().unwrap())
    }

    /// Executes a run that must succeed, and returns its JSON summary.
    pub fn json(&self, options: &[&str]) -> Json {
        let finished = self.digits(&[options, &["--json"]].concat());
        assert_eq!(finished.code, Some(0), "{options:?}: {}", finished.stderr);
        finished.json()
    }

    /// The names of all files and directories, with the contents of the files.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    files.insert(path.clone(), Vec::new());
                    collect(&path, files);
                } else {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        let mut files = BTreeMap::new();
        collect(self.temporary.path(), &mut files);
        files
    }

    /// The learning rate of the last iteration of each epoch.
    pub fn learning_rates(&self) -> Vec<f64> {
        let mut rates = Vec::new();
        let mut last = None;
        for event in History::read(self.run.join("history.jsonl")).unwrap() {
            match event {
                HistoryEvent::Scalars { values, .. } => {
                    last = values.iter().find(|(name, _)| name == "learning_rate").and_then(|(_, value)| *value);
                }
                HistoryEvent::Epoch { .. } => rates.extend(last),
                _ => (),
            }
        }
        rates
    }
}

impl Finished {
    pub fn new(output: Output) -> Self {
        Finished {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn json(&self) -> Json {
        Json(self.stdout.lines().last().unwrap().to_owned())
    }
}

/// A JSON object, as text. Each test asks for a key that occurs once, or that has the same value everywhere.
#[derive(Debug)]
pub struct Json(pub String);

impl Json {
    #[track_caller]
    pub fn get(&self, key: &str) -> &str {
        assert!(self.0.starts_with('{') && self.0.ends_with("}}"), "{}", self.0);
        let (_, rest) = self.0.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key} in {}", self.0));
        rest.split([',', '}']).next().unwrap()
    }
}

/// Each option of a setting, its name in the JSON summary, and a valid value.
pub const OPTIONS: [(&str, &str, &str); 11] = [
    ("--batch-size", "batch_size", "100"),
    ("--clip", "clip", "0.25"),
    ("--epochs", "epochs", "3"),
    ("--hidden", "hidden", "10"),
    ("--learning-rate", "learning_rate", "0.125"),
    ("--momentum", "momentum", "0.75"),
    ("--n-saved", "n_saved", "2"),
    ("--patience", "patience", "9"),
    ("--schedule", "schedule", "plateau"),
    ("--seed", "seed", "7"),
    ("--time-limit", "time_limit", "1000"),
];
