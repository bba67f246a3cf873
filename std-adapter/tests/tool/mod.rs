//! Helpers that all tests of the tool share: they run the tool and create the files that it reads.

#![allow(dead_code)] // Each test crate uses a different part of this module.

pub mod device;

use std::path::Path;
use std::process::{Command, Output};
use training_monitor::checkpoint::{ObjectVisitor, Objects, StateDict, TensorView, TensorVisitor};
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::store::Store;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State};

/// Returns the command that runs the tool in `directory`.
pub fn tool_command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_training-monitor"));
    command.args(arguments).current_dir(directory).env("NO_COLOR", "1");
    command
}

/// Runs the tool in `directory`.
pub fn run_tool(directory: &Path, arguments: &[&str]) -> Output {
    tool_command(directory, arguments).output().unwrap()
}

/// Runs the tool and checks its exit code. Returns its standard error for exit code 2, otherwise its standard output.
pub fn check_output(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = run_tool(directory, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}{err}");
    if code == 2 { err.into_owned() } else { out.into_owned() }
}

/// Runs the tool and parses its standard output as JSON.
pub fn json_output(directory: &Path, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_slice(&run_tool(directory, arguments).stdout).unwrap()
}

/// A model with two tensors and one value that serde serializes.
pub struct Model {
    pub weight: [f32; 6],
    pub bias: [f32; 2],
    pub seed: u32,
}

impl Model {
    pub fn new() -> Self {
        Model { weight: [0.0; 6], bias: [-0.0, 1e-40], seed: 300 }
    }
}

impl StateDict for Model {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("fc.weight", TensorView::new(&[2, 3], &mut self.weight))?;
        visitor.tensor("fc.bias", &mut self.bias)
    }
}

impl Objects for Model {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("model", self)?;
        visitor.value("seed", &mut self.seed)
    }
}

/// Trains three epochs of four iterations. `best` keeps the two checkpoints with the highest scores, `latest` the
/// newest.
pub fn train<B: Store, L: Store>(best: B, latest: L) {
    assert!(try_train(best, latest), "a checkpoint was not saved");
}

/// Trains like [`train`], but with stores that can fail. Returns `false` if a checkpoint was not saved.
pub fn try_train<B: Store, L: Store>(best: B, latest: L) -> bool {
    let score = |state: &State<f32>| [0.5, 0.25, 0.75][state.epoch() as usize - 1];
    let mut handlers = (
        EarlyStopping::new(3).unwrap().attach(EpochCompleted, score),
        ModelCheckpoint::<2>::best_by(score).with_score_name("accuracy").unwrap().attach(EpochCompleted, best).unwrap(),
        ModelCheckpoint::<1>::every(4).unwrap().attach(IterationCompleted, latest).unwrap(),
    );
    let mut model = Model::new();
    let step = |model: &mut Model, batch: u32, _: &mut State<f32>| {
        model.weight[batch as usize] += 0.1;
        1.0 / (1.0 + batch as f32)
    };
    Engine::new(3).run(&mut model, 0..4, &mut handlers, step).is_ok()
}

/// A NOR flash in memory, with erase blocks of `BLOCK` bytes and writes of 8 bytes.
pub struct MemoryFlash<'a, const BLOCK: usize>(pub &'a mut [u8]);

impl<const BLOCK: usize> ErrorType for MemoryFlash<'_, BLOCK> {
    type Error = NorFlashErrorKind;
}

impl<const BLOCK: usize> ReadNorFlash for MemoryFlash<'_, BLOCK> {
    const READ_SIZE: usize = 1;
    fn read(&mut self, at: u32, to: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        to.copy_from_slice(&self.0[at as usize..][..to.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl<const BLOCK: usize> NorFlash for MemoryFlash<'_, BLOCK> {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = BLOCK;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.0[from as usize..to as usize].fill(0xFF);
        Ok(())
    }
    fn write(&mut self, at: u32, from: &[u8]) -> Result<(), NorFlashErrorKind> {
        self.0[at as usize..][..from.len()].copy_from_slice(from);
        Ok(())
    }
}

/// A Python interpreter that can import numpy and safetensors. See [`python_with`].
pub fn python() -> Command {
    python_with("numpy, safetensors.numpy", "numpy safetensors")
}

/// A Python interpreter that can import `modules`, which are in the pip `packages`. The environment variable `PYTHON`
/// selects the interpreter; the default is `python3`.
///
/// # Panics
/// The interpreter does not exist or cannot import the modules. Tests that need Python are ignored by default, so that
/// they run only on request and then fail without it.
pub fn python_with(modules: &str, packages: &str) -> Command {
    let python = || Command::new(std::env::var_os("PYTHON").unwrap_or("python3".into()));
    let output = python().args(["-c", &format!("import {modules}")]).output();
    let is_usable = output.is_ok_and(|output| output.status.success());
    assert!(is_usable, "no Python that can import {modules}: run `pip install {packages}`, or set PYTHON");
    python()
}
