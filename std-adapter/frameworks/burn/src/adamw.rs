//! Copies of the state of burn's optimizer AdamW, which a checkpoint can contain.
//!
//! The state of an optimizer is private. Its only public form is burn's record, whose bytes the crate `burn-pack` reads
//! and writes. In a record, the name of a tensor starts with the identifier of its parameter. burn chooses identifiers
//! at random, so a checkpoint uses the path of the parameter instead.

use crate::tensors::{NamedTensors, Reason, Unavailable};
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::RecordError;
use burn::tensor::{Bytes, DType, Shape, TensorData};
use burn_pack::{Reader, Scalar, Tensor, Writer};
use training_monitor::checkpoint::{ObjectVisitor, Objects, StateDict, TensorUnavailable, TensorView, TensorVisitor};

/// The names of the parts of AdamW's state in a record, after the identifier of the parameter.
const MOMENT_1: &str = "momentum.moment_1";
const MOMENT_2: &str = "momentum.moment_2";
const TIME: &str = "momentum.time";
const RANK: &str = "__rank";

/// Copies of AdamW's state for every parameter of a module.
pub(crate) struct AdamWState {
    moment_1: NamedTensors,
    moment_2: NamedTensors,
    steps: Steps,
}

/// The number of steps for each parameter, in the order of the moments. The number is 0 if the optimizer has no state
/// for the parameter: burn creates the state in the first step.
///
/// The numbers are one tensor, so that loading fails if the module has gained or lost parameters. A row contains the
/// bits above the lowest 24 bits, and the lowest 24 bits, because an f32 represents 24 bits exactly.
struct Steps(Vec<[f32; 2]>);

impl StateDict for Steps {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let rows = u32::try_from(self.0.len()).map_err(|_| TensorUnavailable)?;
        visitor.tensor("steps", TensorView::new(&[rows, 2], self.0.as_flattened_mut()))
    }
}

impl AdamWState {
    /// Copies the state of `optimizer` for the parameters of `model`.
    pub(crate) fn copy_from(optimizer: &ModuleOptimizer, model: &NamedTensors) -> Result<Self, Unavailable> {
        let unavailable = |state: &str, reason| Unavailable { tensor: state.to_owned(), reason };
        let record_error = |error: String| unavailable("record", Reason::OptimizerRecord(error));
        let bytes = optimizer.to_record().into_bytes().map_err(|error| record_error(error.to_string()))?;
        let reader = Reader::from_bytes(bytes).map_err(|error| record_error(error.to_string()))?;
        let mut copy = AdamWState {
            moment_1: model.zeros_like(),
            moment_2: model.zeros_like(),
            steps: Steps(vec![[0.0; 2]; model.0.len()]),
        };
        for (name, value) in reader.scalars() {
            let (id, state) = split(name).ok_or_else(|| unavailable(name, Reason::OptimizerState))?;
            match state {
                TIME => {
                    let time = u64::try_from(*value)
                        .map_err(|error| unavailable(name, Reason::OptimizerRecord(error.to_string())))?;
                    if let Some(index) = model.0.iter().position(|tensor| tensor.id == id) {
                        copy.steps.0[index] = [(time >> 24) as f32, (time & 0xFF_FFFF) as f32];
                    }
                }
                RANK => (),
                _ => return Err(unavailable(state, Reason::OptimizerState)),
            }
        }
        for tensor in reader.into_tensors().map_err(|error| record_error(error.to_string()))? {
            let (name, dtype, shape, _, bytes) =
                tensor.into_parts().map_err(|error| record_error(error.to_string()))?;
            let (id, state) = split(&name).ok_or_else(|| unavailable(&name, Reason::OptimizerState))?;
            let moments = match state {
                MOMENT_1 => &mut copy.moment_1,
                MOMENT_2 => &mut copy.moment_2,
                _ => return Err(unavailable(state, Reason::OptimizerState)),
            };
            let Some(moment) = moments.by_id_mut(id) else { continue };
            let data = TensorData::from_bytes(bytes, shape, dtype);
            moment.elements = data.try_into_vec().map_err(|_| unavailable(&name, Reason::DType(dtype)))?;
        }
        Ok(copy)
    }

    /// Returns `optimizer` with the state of the copies. The settings of the optimizer do not change.
    pub(crate) fn copy_to(&self, optimizer: &ModuleOptimizer) -> Result<ModuleOptimizer, RecordError> {
        let mut tensors = Vec::new();
        let mut scalars = Vec::new();
        let mut paths = Vec::new();
        for ((first, second), steps) in self.moment_1.0.iter().zip(&self.moment_2.0).zip(&self.steps.0) {
            let time = (steps[0] as u64) << 24 | steps[1] as u64;
            if time == 0 {
                continue;
            }
            for (state, moment) in [(MOMENT_1, first), (MOMENT_2, second)] {
                let shape = Shape::from(moment.shape.iter().map(|side| *side as usize).collect::<Vec<_>>());
                let bytes = Bytes::from_elems(moment.elements.clone());
                tensors.push(Tensor::new(join(first.id, state), DType::F32, shape, Some(first.id), bytes));
            }
            scalars.push((join(first.id, TIME), Scalar::from(time)));
            scalars.push((join(first.id, RANK), Scalar::from(first.shape.len())));
            paths.push((first.id.to_string(), &first.name));
        }
        let mut writer = Writer::new(tensors);
        for (name, value) in scalars {
            writer = writer.with_scalar(&name, value);
        }
        for (id, path) in paths {
            writer = writer.with_metadata(&id, path);
        }
        let record = OptimizerRecord::from_bytes(writer.into_bytes()?)?;
        Ok(optimizer.clone().load_record(record))
    }
}

impl Objects for AdamWState {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("adamw.moment_1", &mut self.moment_1)?;
        visitor.state_dict("adamw.moment_2", &mut self.moment_2)?;
        visitor.state_dict("adamw.steps", &mut self.steps)
    }
}

/// Returns the name that a part of the optimizer state of one parameter has in burn's record.
fn join(id: u64, state: &str) -> String {
    format!("{id}.{state}")
}

/// Splits a name in burn's record. Returns the identifier of the parameter, and the name of the part of its optimizer
/// state.
fn split(name: &str) -> Option<(u64, &str)> {
    let (id, state) = name.split_once('.')?;
    Some((id.parse().ok()?, state))
}
