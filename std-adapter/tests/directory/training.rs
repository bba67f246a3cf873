//! What is saved in these tests, and how: the calls that `Saving` makes, with every generation's content its own.

use training_monitor::checkpoint::{
    Contents, EncodeError, Header, Objects, StateDict, Visit, VisitMut, VisitTensors, VisitTensorsMut, encode, measure,
};
use training_monitor::store::{Opening, Store};
use training_monitor_std::Crc32Fast;
use training_monitor_std::directory::DirectoryError;

pub const NAMES: [&str; 3] = ["model", "optimizer", "random"];

/// Up to three objects, whose content is that of a generation.
pub struct Training {
    pub objects: Vec<Vec<f32>>,
}

impl Training {
    pub fn new(objects: usize, generation: u32) -> Self {
        let content =
            |object| (0..20 + 9 * object).map(|index| (index as f32 + generation as f32 * 0.37).sin()).collect();
        Training { objects: (0..objects).map(content).collect() }
    }
}

pub struct Tensor<T>(pub T);

impl StateDict for Tensor<&Vec<f32>> {
    fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
        v.tensor("w", &[self.0.len() as u32], self.0)
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
        Ok(())
    }
}

impl StateDict for Tensor<&mut Vec<f32>> {
    fn tensors<V: VisitTensors>(&self, _: &mut V) -> Result<(), V::Error> {
        Ok(())
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.tensor("w", self.0)
    }
}

impl Objects for Training {
    fn objects<V: Visit>(&self, v: &mut V) -> Result<(), V::Error> {
        NAMES.iter().zip(&self.objects).try_for_each(|(name, object)| v.state_dict(name, &Tensor(object)))
    }
    fn objects_mut<V: VisitMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        NAMES.iter().zip(&mut self.objects).try_for_each(|(name, object)| v.state_dict(name, &mut Tensor(object)))
    }
}

/// Saves generation `header.sequence`, as `Saving` does it.
pub fn save<S: Store<Error = DirectoryError>>(
    store: &mut S,
    objects: usize,
    header: Header<'_>,
) -> Result<(), DirectoryError> {
    let training = Training::new(objects, header.sequence);
    let mut last = None;
    for (part, name) in NAMES.iter().take(objects).enumerate() {
        let contents = Contents { header, record: None, only: Some(name), allow_non_finite: false };
        let len = measure::<DirectoryError, _>(&contents, &training).unwrap();
        let opening = Opening { header, object: Some(name), part: part as u32, parts: objects as u32, len };
        let mut writer = store.create(&opening)?;
        match encode::<Crc32Fast, _, _>(&mut writer, &contents, &training) {
            Ok(encoded) => last = Some(encoded),
            Err(EncodeError::Io(error)) => return Err(error),
            Err(error) => panic!("{error}"),
        }
    }
    store.commit(&header, &last.unwrap())
}

/// One save of a run.
#[derive(Clone, Copy)]
pub struct Plan {
    pub step: u32,
    pub objects: usize,
    /// Names the score, so that a checkpoint of the same step may have other names.
    pub score: Option<f32>,
    /// What goes afterwards.
    pub remove: Option<u32>,
}

impl Plan {
    pub fn header(&self, sequence: u32) -> Header<'static> {
        let score_name = self.score.map(|_| "s");
        Header { step: self.step, sequence, iteration: sequence * 10, score: self.score, score_name }
    }
}
