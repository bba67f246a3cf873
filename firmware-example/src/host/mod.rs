//! The host simulation: the training run of a study on a host, with more handlers and settings than a board has. The
//! program `digits` and the Python package use it.
//!
//! | module | contents |
//! | --- | --- |
//! | [`arguments`] | the options of the command line, and how they become the settings of a run |
//! | [`settings`] | the settings of a run, and their texts in the metadata of each checkpoint |
//! | [`directory`] | the output directory of a new run |
//! | [`network`] | the networks and their training steps |
//! | [`weights`] | the weights of a network as a checkpoint in memory |
//! | [`run`] | the training run |
//! | [`observer`] | what the run reports |
//! | [`recorder`] | the clock and the history of the run |
//! | [`time_limit`] | a time limit of a run that can continue |

pub mod arguments;
pub mod directory;
pub mod network;
pub mod observer;
pub mod recorder;
pub mod run;
pub mod settings;
pub mod time_limit;
pub mod weights;
