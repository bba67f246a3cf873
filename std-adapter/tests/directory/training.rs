//! The objects that the tests save, and the calls of the store that a checkpoint handler makes for a save.

use training_monitor::checkpoint::{
    Contents, EncodeError, Header, Objects, StateDict, Visit, VisitMut, VisitTensors, VisitTensorsMut, encode, measure,
};
use training_monitor::store::{Opening, Store};
use training_monitor_std::Crc32Fast;
use training_monitor_std::directory::DirectoryError;

/// The names of the objects.
pub const NAMES: [&str; 3] = ["model", "optimizer", "random"];

/// Up to three objects. Their content depends on a generation number, so that a test can recognize each generation.
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

/// A state dict with one tensor.
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

/// Saves the generation `header.sequence` with the same calls as a checkpoint handler.
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

/// One save of a test run.
#[derive(Clone, Copy)]
pub struct PlannedSave {
    pub step: u32,
    pub objects: usize,
    /// The score. The score is part of the file names, so two saves of one step can have different file names.
    pub score: Option<f32>,
    /// The step to remove after the save.
    pub remove: Option<u32>,
}

impl PlannedSave {
    pub fn header(&self, sequence: u32) -> Header<'static> {
        let score_name = self.score.map(|_| "s");
        Header { step: self.step, sequence, iteration: sequence * 10, score: self.score, score_name }
    }
}
