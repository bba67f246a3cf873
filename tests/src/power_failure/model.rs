//! The expected state of the store: which saves were started, which were acknowledged, and which checkpoints rank. The
//! model is written as plainly as possible.

use super::payload::Payload;
use std::rc::Rc;
use training_monitor::checkpoint::{self, Checksum, Contents, Header, RankingRule, Series, model_signature};
use training_monitor::store::CheckpointMeta;

/// The value that ranks checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The step number ranks the checkpoints, so the latest checkpoints are kept.
    Interval,
    /// The score ranks the checkpoints, so the checkpoints with the best scores are kept.
    Score,
}

/// A save that the test started. A power failure may interrupt it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The entry that the store should list for the checkpoint.
    pub meta: CheckpointMeta,
    /// The encoded bytes of the checkpoint, as the store must contain them.
    pub bytes: Rc<[u8]>,
    /// Whether the save returned Ok. The store must keep such a checkpoint after a power failure.
    pub is_acknowledged: bool,
}

/// A ranking: the table of the checkpoints that are kept. A checkpoint that equals the worst entry does not enter. Of
/// several equal entries, the oldest is evicted first.
#[derive(Clone, Debug)]
pub struct Table {
    /// The value that ranks the entries.
    pub order: Order,
    /// The maximum number of entries.
    pub capacity: usize,
    /// The kept checkpoints, in no particular order.
    pub entries: Vec<CheckpointMeta>,
}

impl Table {
    /// Whether the checkpoint `new` would enter the table of kept checkpoints.
    pub fn accepts(&self, new: &CheckpointMeta) -> bool {
        self.entries.len() < self.capacity || self.worst().is_none_or(|worst| self.key(new) > self.key(&worst))
    }

    /// Adds `new` if the table accepts it, and evicts the worst entry if the table is full.
    pub fn insert(&mut self, new: CheckpointMeta) {
        if !self.accepts(&new) {
            return;
        }
        if self.entries.len() >= self.capacity {
            let worst = self.worst();
            self.entries.retain(|entry| Some(entry.step) != worst.map(|worst| worst.step));
        }
        self.entries.push(new);
    }

    /// The steps of all entries, in ascending order.
    pub fn steps(&self) -> Vec<u32> {
        let mut steps: Vec<u32> = self.entries.iter().map(|entry| entry.step).collect();
        steps.sort_unstable();
        steps
    }

    /// The step of the best entry. Of several equal entries, the newest is the best.
    pub fn best(&self) -> Option<u32> {
        self.entries.iter().max_by_key(|entry| (self.key(entry), entry.step)).map(|entry| entry.step)
    }

    fn key(&self, entry: &CheckpointMeta) -> i64 {
        match self.order {
            Order::Interval => i64::from(entry.step),
            Order::Score => entry.score.unwrap_or(0.0) as i64,
        }
    }

    fn worst(&self) -> Option<CheckpointMeta> {
        self.entries.iter().min_by_key(|entry| (self.key(entry), entry.step)).copied()
    }
}

/// The model: the state that the store should have after all saves until now. The test compares the store with it.
#[derive(Clone, Debug)]
pub struct Model {
    /// All saves that were started, by step.
    pub attempts: Vec<Attempt>,
    /// The ranking of the acknowledged saves. These checkpoints must be stored.
    pub acknowledged: Table,
    /// The step number of the last save that was started. Each save increases it by 1.
    pub step: u32,
    /// Whether the checkpoints of the case are long. The first save decides.
    pub long: Option<bool>,
}

impl Model {
    /// Creates the model (the expected state of the store) for a store without checkpoints.
    pub fn new(order: Order, capacity: usize) -> Self {
        Model {
            attempts: Vec::new(),
            acknowledged: Table { order, capacity, entries: Vec::new() },
            step: 0,
            long: None,
        }
    }

    /// Adds an attempt to save `len` weights, which differ from those of all other attempts. Returns the entry and the
    /// weights.
    pub fn start_save<C: Checksum>(
        &mut self,
        sequence: u32,
        score: Option<f32>,
        len: usize,
    ) -> (CheckpointMeta, Payload) {
        self.step += 1;
        let weights = (0..len).map(|index| (self.step * 1000) as f32 + index as f32 * 0.37);
        let mut weights = Payload(weights.collect());
        let header = header(self.step, sequence, 10 * self.step, score, len);
        let meta = CheckpointMeta::from(&header);
        let bytes = encode::<C>(header, &mut weights).into();
        self.attempts.push(Attempt { meta, bytes, is_acknowledged: false });
        (meta, weights)
    }

    /// Marks the last started save as acknowledged, because the store returned Ok for it.
    pub fn acknowledge_save(&mut self) {
        if let Some(last) = self.attempts.last_mut() {
            last.is_acknowledged = true;
            self.acknowledged.insert(last.meta);
        }
    }

    /// The started save whose checkpoint has the metadata `meta`, or `None` if no such save was started.
    pub fn attempt(&self, meta: &CheckpointMeta) -> Option<&Attempt> {
        self.attempts.iter().rev().find(|attempt| attempt.meta == *meta)
    }
}

/// Returns the header of a checkpoint with `len` weights. All checkpoints of a test case belong to the same series.
pub fn header(step: u32, sequence: u32, iteration: u32, score: Option<f32>, len: usize) -> Header<'static> {
    let rule = if score.is_some() { RankingRule::Best } else { RankingRule::Latest };
    let series = Series { name: "", rule, model: model_signature(&mut Payload(vec![0.0; len])).unwrap_or(0) };
    Header { step, sequence, iteration, score, series, ..Header::default() }
}

/// Returns the stream (the encoded bytes) that the store must contain for a checkpoint with this header.
pub fn encode<C: Checksum>(header: Header<'_>, weights: &mut Payload) -> Vec<u8> {
    let contents = Contents { header, record: None, single_object: None, allow_non_finite: false, metadata: &[] };
    let mut bytes = Vec::new();
    let encoded = checkpoint::encode_with::<C, _, _>(&mut bytes, &contents, weights);
    encoded.expect("writing to a Vec does not fail");
    bytes
}
