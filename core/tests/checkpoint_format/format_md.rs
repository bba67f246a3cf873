//! The structures of a checkpoint. Their fields are in the order that FORMAT.md documents.

use serde::Deserialize;

#[derive(Deserialize, Debug, PartialEq)]
pub struct Checkpoint {
    pub magic: [u8; 4],
    pub version: u8,
    pub length: [u8; 4],
    pub step: u32,
    pub sequence: u32,
    pub iteration: u32,
    pub score: Option<f32>,
    pub score_name: Option<String>,
    pub object_names: Vec<String>,
    pub extensions: Vec<Extension>,
    pub run: Option<Run>,
    pub objects: Vec<Object>,
    pub crc: [u8; 4],
}
#[derive(Deserialize, Debug, PartialEq)]
pub struct Extension {
    pub id: u32,
    pub required: bool,
    pub data: Vec<u8>,
}
/// The data of extension 2 is a list of these.
#[derive(Deserialize, Debug, PartialEq)]
pub struct Metadata {
    pub name: String,
    pub value: Vec<u8>,
}
/// The data of extension 1.
#[derive(Deserialize, Debug, PartialEq)]
pub struct Identity {
    pub run: u32,
    pub name: String,
    pub rule: u8,
    pub model: u32,
    pub save_id: u32,
}
#[derive(Deserialize, Debug, PartialEq)]
pub struct Object {
    pub name: String,
    pub content: Content,
}
#[derive(Deserialize, Debug, PartialEq)]
pub enum Content {
    StateDict(Vec<Tensor>),
    Value(Vec<u8>),
}
#[derive(Deserialize, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub element_type: u8,
    pub shape: Vec<u32>,
    pub pad: Vec<u8>,
    pub data: Vec<u8>,
}
#[derive(Deserialize, Debug, PartialEq)]
pub struct Run {
    pub phase: u32,
    pub epoch: u32,
    pub iteration: u32,
    pub offset: u32,
    pub data_offset: u32,
    pub epoch_length: u32,
    pub max_epochs: Option<u32>,
    pub stop: Option<StopReason>,
    pub stop_epoch: bool,
    pub handlers: Vec<HandlerState>,
}
#[derive(Deserialize, Debug, PartialEq)]
pub enum StopReason {
    MaxEpochs,
    EarlyStopping,
    NonFinite,
    SaveFailed,
    StepFailed,
    User(u8),
    TimeLimit,
    TargetReached,
    Diverged,
    Interrupted,
    Spike,
}
#[derive(Deserialize, Debug, PartialEq)]
pub struct HandlerState {
    pub kind: u8,
    pub tag: [u8; 2],
    pub state: Vec<u8>,
}
