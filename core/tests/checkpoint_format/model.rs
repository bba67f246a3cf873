//! The model that the tests save and load.

use serde::{Deserialize, Serialize};
use training_monitor::checkpoint::{Objects, StateDict, Visit, VisitMut, VisitTensors, VisitTensorsMut};

/// Two state dicts, `net` and `momentum`, and two values, `schedule` and `seed`.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    pub weight: [[f32; 3]; 5],
    pub bias: Vec<f32>,
    pub momentum: [f32; 7],
    pub schedule: Schedule,
    pub seed: u64,
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
            weight: std::array::from_fn(|row| std::array::from_fn(|column| value(row * 3 + column))),
            bias: (0..100).map(value).collect(),
            momentum: [f32::MIN_POSITIVE, -0.0, f32::MAX, -1e-45, 1.0 / 3.0, 0.0, -2.0],
            schedule: Schedule { rate: 0.1, phase: Phase::Cold { since: 300 + seed }, seen: [1, 2, 3, 400] },
            seed: u64::from(seed) << 40 | 7,
        }
    }
    pub fn blank() -> Self {
        let mut model = Model::new(0);
        model.objects_mut(&mut Overwrite).unwrap();
        model.schedule.phase = Phase::Warm;
        model
    }
}

pub struct Net<'a>(&'a mut Model);

impl StateDict for Net<'_> {
    fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
        v.tensor("weight", &[5, 3], self.0.weight.as_flattened())?;
        v.tensor("bias", &[100], &self.0.bias)
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        // Loading visits the tensors in another order than saving, because the decoder finds them by name.
        v.tensor("bias", &mut self.0.bias)?;
        v.tensor("weight", self.0.weight.as_flattened_mut())
    }
}

impl Objects for Model {
    fn objects<V: Visit>(&self, v: &mut V) -> Result<(), V::Error> {
        v.state_dict("net", &Net(&mut self.clone()))?;
        v.value("schedule", &self.schedule)?;
        v.state_dict("momentum", &self.momentum)?;
        v.value("seed", &self.seed)
    }
    fn objects_mut<V: VisitMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.value("seed", &mut self.seed)?;
        v.value("schedule", &mut self.schedule)?;
        v.state_dict("net", &mut Net(self))?;
        v.state_dict("momentum", &mut self.momentum)
    }
}

/// Overwrites all tensors with 9.0.
pub struct Overwrite;
impl VisitMut for Overwrite {
    type Error = ();
    fn state_dict<D: StateDict + ?Sized>(&mut self, _: &str, object: &mut D) -> Result<(), ()> {
        object.tensors_mut(self)
    }
    fn value<S: serde::de::DeserializeOwned>(&mut self, _: &str, _: &mut S) -> Result<(), ()> {
        Ok(())
    }
}

impl VisitTensorsMut for Overwrite {
    type Error = ();
    fn tensor(&mut self, _: &str, elements: &mut [f32]) -> Result<(), ()> {
        elements.fill(9.0);
        Ok(())
    }
}
