//! Replays `terminate_on_nan` traces: the output of each run is a tree of numbers, tensors, lists and maps. An attached
//! [`TerminateOnNan`] checks it after the only iteration of the run.

use super::trace_values::Number;
use super::{Failure, expect_equal, rejected};
use serde::Deserialize;
use training_monitor::event::IterationCompleted;
use training_monitor::finite::{Finite, FiniteElement};
use training_monitor::{Engine, StopReason, TerminateOnNan};

#[derive(Deserialize)]
pub struct Trace {
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    output: Tree,
    terminated: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tree {
    Number(Number),
    Tensor(Vec<Number>),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Finite for Tree {
    fn is_finite(&self) -> bool {
        match self {
            // This calls the trait method of the library, because the replay tests the library and not the method of
            // `f64`.
            Tree::Number(number) => Finite::is_finite(&number.0),
            // The scan that the library uses for slices, over the f32 values that a device would store.
            Tree::Tensor(numbers) => {
                let tensor: Vec<f32> = numbers.iter().map(|number| number.as_f32()).collect();
                tensor[..].is_finite()
            }
            Tree::List(trees) => trees[..].is_finite(),
            // As in Ignite, only the values of a map are checked.
            Tree::Map(entries) => entries.iter().all(|(_, tree)| tree.is_finite()),
        }
    }
}

impl FiniteElement for Tree {}

pub fn replay(trace: &Trace) -> Result<(), Failure> {
    for (index, call) in trace.calls.iter().enumerate() {
        let mut guard = TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output);
        let outcome = Engine::new(1).run(&mut (), 0..1, &mut guard, |(), _, _| &call.output).map_err(rejected)?;
        expect_equal(index, "terminated", &call.terminated, &(outcome.reason == StopReason::NonFinite))?;
    }
    Ok(())
}
