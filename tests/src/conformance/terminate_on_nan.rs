//! `terminate_on_nan` traces: a tree of numbers, tensors, lists and maps as the output of a run of one iteration,
//! watched by an attached [`TerminateOnNan`].

use super::wire::Number;
use super::{Failure, refused, same};
use serde::Deserialize;
use training_monitor::event::IterationCompleted;
use training_monitor::finite::{Finite, FiniteElement};
use training_monitor::{Engine, State, StopReason, TerminateOnNan};

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
            // Not `f64`'s own: a number is finite if the f32 is that the device would hold.
            Tree::Number(number) => Finite::is_finite(&number.0),
            // The library's own scan of a slice, over what the device would hold.
            Tree::Tensor(numbers) => {
                let tensor: Vec<f32> = numbers.iter().map(|number| number.narrow()).collect();
                tensor[..].is_finite()
            }
            Tree::List(trees) => trees[..].is_finite(),
            // As in Ignite only the values count.
            Tree::Map(entries) => entries.iter().all(|(_, tree)| tree.is_finite()),
        }
    }
}

impl FiniteElement for Tree {}

pub fn replay<'a>(trace: &'a Trace) -> Result<(), Failure> {
    for (at, call) in trace.calls.iter().enumerate() {
        let mut guard =
            TerminateOnNan::new().attach(IterationCompleted, |_: &(), state: &State<&'a Tree>| state.output);
        let outcome = Engine::new(1).run(&mut (), 0..1, &mut guard, |(), _, _| &call.output).map_err(refused)?;
        same(at, "terminated", &call.terminated, &(outcome.reason == StopReason::NonFinite))?;
    }
    Ok(())
}
