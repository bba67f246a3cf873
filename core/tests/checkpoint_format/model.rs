//! The model that the tests save and load.

use serde::{Deserialize, Serialize};
use training_monitor::checkpoint::{ObjectVisitor, TensorUnavailable, TensorView, TensorVisitor};
use training_monitor::{Objects, StateDict};

/// The saved objects: two state dicts, `net` and `momentum`, and two values, `schedule` and `seed`.
#[derive(Objects, Clone, PartialEq, Debug)]
pub struct Model {
    pub net: Net,
    #[objects(value)]
    pub schedule: Schedule,
    pub momentum: [f32; 7],
    #[objects(value)]
    pub seed: u64,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Net {
    pub weight: [[f32; 3]; 5],
    pub bias: Vec<f32>,
}

impl StateDict for Net {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("weight", &mut self.weight)?;
        self.bias.as_mut_slice().visit_as_field("bias", visitor)
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Schedule {
    pub rate: f64,
    pub phase: Phase,
    pub seen: [u16; 4],
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Phase {
    Warm,
    Cold { since: u32 },
}

impl Model {
    pub fn new(seed: u32) -> Self {
        let value = |index: usize| (index as f32 - 3.5) * 0.125 + seed as f32;
        Model {
            net: Net {
                weight: std::array::from_fn(|row| std::array::from_fn(|column| value(row * 3 + column))),
                bias: (0..100).map(value).collect(),
            },
            schedule: Schedule { rate: 0.1, phase: Phase::Cold { since: 300 + seed }, seen: [1, 2, 3, 400] },
            momentum: [f32::MIN_POSITIVE, -0.0, f32::MAX, -1e-45, 1.0 / 3.0, 0.0, -2.0],
            seed: u64::from(seed) << 40 | 7,
        }
    }
    pub fn blank() -> Self {
        let mut model = Model::new(0);
        model.objects(&mut Overwrite).unwrap();
        model.schedule.phase = Phase::Warm;
        model
    }
}

/// A wrapper that lists the objects and tensors of a model in another order.
pub struct Reordered<'a>(pub &'a mut Model);

impl Objects for Reordered<'_> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.value("seed", &mut self.0.seed)?;
        visitor.value("schedule", &mut self.0.schedule)?;
        visitor.state_dict("net", &mut ReorderedNet(&mut self.0.net))?;
        visitor.state_dict("momentum", &mut self.0.momentum)
    }
}

struct ReorderedNet<'a>(&'a mut Net);

impl StateDict for ReorderedNet<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.0.bias.as_mut_slice().visit_as_field("bias", visitor)?;
        visitor.tensor("weight", &mut self.0.weight)
    }
}

/// A visitor that overwrites all tensors with 9.0, so that a test can see which ones a load restores.
pub struct Overwrite;

impl ObjectVisitor for Overwrite {
    type Error = TensorUnavailable;
    fn state_dict<D: StateDict + ?Sized>(&mut self, _: &str, object: &mut D) -> Result<(), TensorUnavailable> {
        object.tensors(self)
    }
    fn value_with<S: Serialize + serde::de::DeserializeOwned>(
        &mut self,
        _: &str,
        _: &mut S,
        _: &mut [u8],
    ) -> Result<(), TensorUnavailable> {
        Ok(())
    }
}

impl TensorVisitor for Overwrite {
    type Error = TensorUnavailable;
    fn visit_tensor(&mut self, _: &str, mut tensor: TensorView<'_>) -> Result<(), TensorUnavailable> {
        tensor.elements_mut::<f32>().ok_or(TensorUnavailable)?.fill(9.0);
        Ok(())
    }
}
