//! A node of a fleet: it receives weights and the settings of a round over a serial line, trains, and sends its weights.
//!
//! The gateway is the host program at the other end of the line, `training_monitor.gateway` in Python. It sends requests,
//! and the node replies; the node never sends anything else. The payloads are checkpoints, so their names, shapes and
//! element types are checked by the loader. [`frame`] describes the frames, and [`round`] the training.
//!
//! | request | objects of the payload | replies |
//! | --- | --- | --- |
//! | [`Kind::Hello`] | none | [`Kind::Description`]: `node.network`, and `request` with the settings of the newest saved round; the metadata `name` |
//! | [`Kind::Train`] | `model`, `round` | [`Kind::Progress`] after each saved epoch, then [`Kind::Result`]: `model`, `metrics` |
//!
//! A request that the node cannot execute gets the reply [`Kind::Refused`] and a damaged frame gets [`Kind::Damaged`].
//! Both change nothing in the store.
//!
//! The program `node` runs [`serve`] on a board, and on a host with a directory in place of the flash.

pub mod frame;
pub mod round;

use crate::data::{CLASSES, PIXELS};
use core::convert::Infallible;
use core::fmt;
use frame::{Frame, FrameWriter, Kind, OVERHEAD};
use round::{Node, Round, RoundMetrics, TrainError, Weights};
use training_monitor::checkpoint::{self, Contents, DecodeError, EncodeError};
use training_monitor::embedded_io::{ErrorKind, Read, Write};
use training_monitor::store::Store;
use training_monitor::{Objects, StateDict};

/// The payload of a request to train.
#[derive(Objects)]
struct TrainRequest<'a, const HIDDEN: usize> {
    model: &'a mut Weights<HIDDEN>,
    round: &'a mut Round,
}

/// The payload of a reply with the result of a round.
#[derive(Objects)]
struct RoundResult<'a, const HIDDEN: usize> {
    model: &'a mut Weights<HIDDEN>,
    metrics: RoundMetrics,
}

/// The payload of the description of a node.
#[derive(Objects)]
struct Description {
    node: Network,
    request: round::Request,
}

#[derive(StateDict)]
struct Network {
    /// Number of inputs, hidden units and classes.
    network: [u32; 3],
}

/// Size in bytes of the buffer for [`serve`]: that of the weights, and 1 KiB for everything else in a frame.
pub const fn buffer_size<const HIDDEN: usize>() -> usize {
    4 * Weights::<HIDDEN>::COUNT + 1024
}

/// Executes the requests from `port` until its input ends; the input of a serial line does not end. `name` is the name of
/// the node in its description. `buffer` contains one frame, so its size limits the length of a request.
///
/// # Errors
/// Returns the error of the port.
pub fn serve<const HIDDEN: usize, const BATCH: usize, P: Read + Write, S: Store>(
    name: &str,
    port: &mut P,
    node: &mut Node<HIDDEN, BATCH>,
    store: &mut S,
    buffer: &mut [u8],
) -> Result<(), P::Error> {
    while let Some(received) = frame::receive(port, buffer)? {
        let len = match received {
            Err(damage) => encode_text(buffer, Kind::Damaged, 0, &damage),
            Ok(frame) => {
                let request = frame.request;
                let reply = execute(&frame, port, node, store);
                match reply.and_then(|reply| encode(buffer, request, name, reply, node)) {
                    Ok(len) => len,
                    Err(refusal) => encode_text(buffer, Kind::Refused, request, &refusal),
                }
            }
        };
        frame::send(port, buffer, len)?;
    }
    Ok(())
}

/// The reply to a request that the node has executed.
enum Reply {
    Description(Description),
    Result(RoundMetrics),
}

/// The reason why the node does not execute a request.
#[derive(Debug)]
enum Refusal {
    /// No request has this kind.
    Kind(u8),
    /// The payload is not a checkpoint of a request, or is one for another network.
    Checkpoint(DecodeError<Infallible>),
    /// The round failed.
    Train(TrainError),
    /// The reply cannot be encoded.
    Reply(EncodeError<ErrorKind>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Kind(kind) => write!(f, "frame: kind {kind:#04x}; expected a request to describe or to train"),
            Refusal::Checkpoint(error) => write!(f, "request: {error}"),
            Refusal::Train(error) => error.fmt(f),
            Refusal::Reply(error) => write!(f, "reply: {error}"),
        }
    }
}

/// Executes a request. The weights of the result are in `node`.
fn execute<const HIDDEN: usize, const BATCH: usize>(
    frame: &Frame<'_>,
    port: &mut impl Write,
    node: &mut Node<HIDDEN, BATCH>,
    store: &mut impl Store,
) -> Result<Reply, Refusal> {
    if frame.kind == Kind::Hello as u8 {
        let network = Network { network: [PIXELS as u32, HIDDEN as u32, CLASSES as u32] };
        let request = round::stored_request(store).unwrap_or(round::Request::NONE);
        return Ok(Reply::Description(Description { node: network, request }));
    }
    if frame.kind != Kind::Train as u8 {
        return Err(Refusal::Kind(frame.kind));
    }
    let mut settings = Round::NONE;
    let mut payload = TrainRequest { model: &mut node.trainee.net.parameters, round: &mut settings };
    checkpoint::load(frame.payload, &mut payload, None).map_err(Refusal::Checkpoint)?;
    let saved = |epoch: u32| {
        let mut buffer = [0; OVERHEAD + 8];
        let mut progress = FrameWriter::new(&mut buffer, Kind::Progress, frame.request);
        progress.push(&epoch.to_le_bytes());
        let len = progress.finish();
        // A failure of the port does not stop the round. The gateway sends the request again.
        let _ = frame::send(port, &buffer, len);
    };
    round::train(node, settings, store, saved).map(Reply::Result).map_err(Refusal::Train)
}

/// Encodes a reply into `buffer`. Returns the length for [`frame::send`].
fn encode<const HIDDEN: usize, const BATCH: usize>(
    buffer: &mut [u8],
    request: u32,
    name: &str,
    reply: Reply,
    node: &mut Node<HIDDEN, BATCH>,
) -> Result<Option<usize>, Refusal> {
    match reply {
        Reply::Description(mut description) => {
            let metadata = [("name", name.as_bytes())];
            let contents = Contents { metadata: &metadata, ..Contents::new(description.request.round.number) };
            encode_checkpoint(FrameWriter::new(buffer, Kind::Description, request), &contents, &mut description)
        }
        Reply::Result(metrics) => {
            let mut result = RoundResult { model: &mut node.trainee.net.parameters, metrics };
            let contents = Contents::new(node.request.round.number);
            encode_checkpoint(FrameWriter::new(buffer, Kind::Result, request), &contents, &mut result)
        }
    }
}

fn encode_checkpoint(
    mut writer: FrameWriter<'_>,
    contents: &Contents<'_>,
    objects: &mut impl Objects,
) -> Result<Option<usize>, Refusal> {
    checkpoint::encode(&mut writer, contents, objects).map_err(Refusal::Reply)?;
    Ok(writer.finish())
}

/// Encodes a reply with a text into `buffer`. Returns the length for [`frame::send`].
fn encode_text(buffer: &mut [u8], kind: Kind, request: u32, text: &dyn fmt::Display) -> Option<usize> {
    let mut writer = FrameWriter::new(buffer, kind, request);
    let _ = fmt::Write::write_fmt(&mut writer, format_args!("{text}"));
    writer.finish()
}
