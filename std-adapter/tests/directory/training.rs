//! The objects that the tests save, and the calls of the store that a checkpoint handler makes for a save.

use training_monitor::checkpoint::{
    Contents, EncodeError, Header, ObjectVisitor, Objects, StateDict, TensorVisitor, encode_with, measure,
};
use training_monitor::store::{Store, StreamSpec};
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

/// A state dict with one tensor, which has the name "w".
pub struct Tensor<'a>(pub &'a mut [f32]);

impl StateDict for Tensor<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.0.visit_as_field("w", visitor)
    }
}

impl Objects for Training {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        NAMES.iter().zip(&mut self.objects).try_for_each(|(name, object)| visitor.state_dict(name, &mut Tensor(object)))
    }
}

/// Saves the generation `header.sequence` with the same calls as a checkpoint handler.
pub fn save<S: Store<Error = DirectoryError>>(
    store: &mut S,
    objects: usize,
    header: Header<'_>,
) -> Result<(), DirectoryError> {
    save_generation(store, objects, header, header.sequence)
}

/// Saves the given generation with the same calls as a checkpoint handler.
pub fn save_generation<S: Store<Error = DirectoryError>>(
    store: &mut S,
    objects: usize,
    header: Header<'_>,
    generation: u32,
) -> Result<(), DirectoryError> {
    let mut training = Training::new(objects, generation);
    let mut last = None;
    let commit_header = header;
    let header = Header { save_id: save_id(&mut training, header), ..header };
    for (index, name) in NAMES.iter().take(objects).enumerate() {
        let contents = Contents { header, single_object: Some(name), ..Contents::new(header.step) };
        let len = measure(&contents, &mut training).unwrap();
        let (stream_index, stream_count) = (index as u32, objects as u32);
        let mut writer = store.create(&StreamSpec { header, object: Some(name), stream_index, stream_count, len })?;
        match encode_with::<Crc32Fast, _, _>(&mut writer, &contents, &mut training) {
            Ok(encoded) => last = Some(encoded),
            Err(EncodeError::Io(error)) => return Err(error),
            Err(error) => panic!("{error}"),
        }
    }
    store.commit(&commit_header, &last.unwrap())
}

/// Returns the identity of a save: the checksum of a stream with all objects, or 0 if there is one object.
pub fn save_id(training: &mut Training, header: Header<'_>) -> u32 {
    if training.objects.len() < 2 {
        return 0;
    }
    let contents = Contents { header, ..Contents::new(header.step) };
    encode_with::<Crc32Fast, _, _>(&mut &mut [0; 4096][..], &contents, training).unwrap().crc
}

/// One planned save of a test run: the checkpoint to save, and the step to remove afterwards.
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
        Header {
            step: self.step,
            sequence,
            iteration: sequence * 10,
            score: self.score,
            score_name,
            ..Header::default()
        }
    }
}
