//! A node of a fleet in one process: requests and replies are bytes in memory, and the flash is simulated. The replies of a
//! node must have the bits of the same training steps without a node, whatever interrupts it.
//!
//! `FAILURE_SEED=n cargo test -p training-monitor-firmware-example --test node` replays the random frames of one seed.

use digits_workload::node::frame::{Damage, Frame, FrameWriter, Kind, receive, send};
use digits_workload::node::round::{self, Node, Round, RoundMetrics, Weights};
use digits_workload::node::{buffer_size, serve};
use digits_workload::train::{Hyper, Trainee};
use embedded_storage::nor_flash::ReadNorFlash;
use training_monitor::checkpoint::{self, Contents, Named};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Read, Write};
use training_monitor::store::flash::Slots;
use training_monitor::{Objects, StateDict};
use training_monitor_std::test_support::flash::{Flash, Interruption};
use training_monitor_std::test_support::random::Random;

const HIDDEN: usize = 4;
const SLOT: u32 = 8192;

type TestFlash = Flash<4, 1024>;

/// The two ends of a serial line: the bytes that the node reads, and those that it has written.
struct Line {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl ErrorType for Line {
    type Error = ErrorKind;
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ErrorKind> {
        let len = bytes.len().min(self.input.len());
        bytes[..len].copy_from_slice(&self.input[..len]);
        self.input.drain(..len);
        Ok(len)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

#[derive(Objects)]
struct Request<D: StateDict> {
    model: D,
    round: Round,
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 2 * payload.len() + 64];
    // `FrameWriter` accepts the kinds of the protocol only, so the test encodes another kind as a part of a frame.
    let mut body = vec![kind, 7, 0, 0, 0];
    body.extend_from_slice(payload);
    let crc = crc32fast::hash(&body);
    body.extend_from_slice(&crc.to_le_bytes());
    let len = cobs::try_encode(&body, &mut buffer).unwrap();
    let mut line = Line { input: Vec::new(), output: Vec::new() };
    send(&mut line, &buffer, Some(len)).unwrap();
    line.output
}

fn train_frame(model: impl StateDict, round: Round) -> Vec<u8> {
    let mut bytes = vec![0; 64 * 1024];
    let mut request = Request { model, round };
    let encoded = checkpoint::encode(&mut &mut bytes[..], &Contents::new(round.number), &mut request).unwrap();
    frame(Kind::Train as u8, &bytes[..encoded.len as usize])
}

/// The frames that a node sends for `input`: kinds and payloads.
fn replies(input: Vec<u8>, flash: &mut TestFlash) -> Vec<(u8, Vec<u8>)> {
    let mut line = Line { input, output: Vec::new() };
    let mut store = Slots::<_, 2>::open(flash, 0..2 * SLOT).unwrap();
    let mut node = Node::<HIDDEN, 16>::new();
    serve("test", &mut line, &mut node, &mut store, &mut [0; buffer_size::<HIDDEN>()]).unwrap();
    let (mut output, mut buffer, mut replies) = (&line.output[..], [0; 64 * 1024], Vec::new());
    while let Some(frame) = receive(&mut output, &mut buffer).unwrap() {
        let frame = frame.unwrap();
        assert_eq!(frame.request, if frame.kind == Kind::Damaged as u8 { 0 } else { 7 });
        replies.push((frame.kind, frame.payload.to_vec()));
    }
    replies
}

/// The text of a refusal, or of the report of a damaged frame.
fn text(input: Vec<u8>, flash: &mut TestFlash) -> (u8, String) {
    let replies = replies(input, flash);
    let [(kind, payload)] = &replies[..] else { panic!("{replies:?}") };
    (*kind, String::from_utf8(payload.clone()).unwrap())
}

fn new_flash() -> TestFlash {
    Flash::new(2 * SLOT as usize, 0xFF)
}

fn content(flash: &mut TestFlash) -> Vec<u8> {
    let mut bytes = vec![0; 2 * SLOT as usize];
    flash.read(0, &mut bytes).unwrap();
    bytes
}

fn start() -> Weights<HIDDEN> {
    let mut trainee = Trainee::<HIDDEN, 16>::new();
    trainee.init(1, Hyper::DEFAULT);
    trainee.net.parameters
}

const ROUND: Round = Round { number: 3, local_epochs: 3, partition: [2, 8], seed: 5, learning_rate: 0.1 };

/// The weights after the round and the loss of its last epoch, computed with training steps only.
fn expected() -> (Weights<HIDDEN>, f32) {
    let mut trainee = Trainee::<HIDDEN, 16>::new();
    trainee.net.parameters = start();
    trainee.sgd.init(Hyper { learning_rate: 0.1, momentum: 0.5, decay: 1.0 });
    let mut loss = 0.0;
    for epoch in 1..=3 {
        // The partition has 150 images, so the last batch is shorter.
        loss = (0..10).fold(0.0, |sum, offset| sum + trainee.step_on(ROUND.batch(epoch, offset, 16)));
    }
    (trainee.net.parameters, loss / 10.0)
}

/// The weights and the training loss in the result of a round.
fn result_of(payload: &[u8]) -> (Weights<HIDDEN>, f32) {
    #[derive(Objects)]
    struct Result {
        model: Weights<HIDDEN>,
        metrics: RoundMetrics,
    }
    let metrics = RoundMetrics { loss: 0.0, val_loss: 0.0, accuracy: 0.0, examples: 0 };
    let mut result = Result { model: Weights::ZERO, metrics };
    checkpoint::load(payload, &mut result, None).unwrap();
    assert_eq!(result.metrics.examples, 150);
    (result.model, result.metrics.loss)
}

#[test]
fn a_result_has_the_bits_of_the_training_steps_and_is_stored() {
    let mut flash = new_flash();
    let request = train_frame(start(), ROUND);
    let first = replies(request.clone(), &mut flash);
    let kinds: Vec<u8> = first.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::Progress as u8, Kind::Progress as u8, Kind::Progress as u8, Kind::Result as u8]);
    let epochs: Vec<&[u8]> = first[..3].iter().map(|(_, payload)| &payload[..]).collect();
    assert_eq!(epochs, [&1_u32.to_le_bytes(), &2_u32.to_le_bytes(), &3_u32.to_le_bytes()]);
    assert_eq!(result_of(&first[3].1), expected());

    // After a restart, the finished round is not trained again.
    let image = content(&mut flash);
    assert_eq!(replies(request, &mut flash), first[3..]);
    assert_eq!(content(&mut flash), image);
}

#[test]
fn a_checkpoint_of_another_request_does_not_resume() {
    let mut other = start();
    other.b1[0] += 1.0;
    let other_requests = [
        train_frame(other, ROUND),
        train_frame(start(), Round { number: 4, ..ROUND }),
        train_frame(start(), Round { local_epochs: 2, ..ROUND }),
        train_frame(start(), Round { partition: [1, 8], ..ROUND }),
        train_frame(start(), Round { seed: 6, ..ROUND }),
        train_frame(start(), Round { learning_rate: 0.2, ..ROUND }),
    ];
    for other in other_requests {
        let mut flash = new_flash();
        let first = replies(other, &mut flash).pop().unwrap();
        let second = replies(train_frame(start(), ROUND), &mut flash);
        assert_ne!(first.1, second[3].1);
        assert_eq!(second.len(), 4);
        assert_eq!(result_of(&second[3].1), expected());
    }
}

#[test]
fn a_round_with_power_failures_in_every_operation_ends_with_the_same_bits() {
    let request = train_frame(start(), ROUND);
    let mut flash = new_flash();
    flash.log = Some(Vec::new());
    let expected = replies(request.clone(), &mut flash).pop().unwrap();
    let operations = flash.log.take().unwrap();
    assert!(operations.len() > 100);
    let mut resumed = 0;
    for (operation, erase) in operations.iter().enumerate().step_by(3) {
        let states = Interruption::all(*erase, 32);
        let mut flash = new_flash();
        flash.cut_power_at(operation as u64, states[operation % states.len()], operation as u64);
        replies(request.clone(), &mut flash);
        assert!(flash.is_off(), "failure in operation {operation}");
        flash.power_on();
        let after = replies(request.clone(), &mut flash);
        assert_eq!(after.last(), Some(&expected), "failure in operation {operation}");
        resumed += u32::from(after.len() < 4);
    }
    // The failures after the first save do not repeat the whole round.
    assert!(resumed as usize > operations.len() / 3 / 2, "{resumed} of {} rounds resumed", operations.len() / 3);
}

#[test]
fn a_bad_request_names_its_fault_and_changes_nothing() {
    let mut flash = new_flash();
    replies(train_frame(start(), ROUND), &mut flash);
    let image = content(&mut flash);
    let mut damaged = train_frame(start(), ROUND);
    damaged[100] ^= 0x40;
    let mut truncated = train_frame(start(), ROUND);
    truncated.truncate(300);
    truncated.push(0);
    let mut checkpoint = vec![0; 4096];
    let encoded = checkpoint::encode(&mut &mut checkpoint[..], &Contents::new(1), &mut Named::new("model", start()));
    let no_round = frame(Kind::Train as u8, &checkpoint[..encoded.unwrap().len as usize]);
    let refused = Kind::Refused as u8;
    let cases = [
        (damaged, Kind::Damaged as u8, "frame: CRC-32 "),
        (truncated, Kind::Damaged as u8, "frame: it ends in the middle of a COBS block"),
        (vec![1, 0], Kind::Damaged as u8, "frame: 0 bytes; expected at least 9"),
        (frame(2, &[1; 4000]), Kind::Damaged as u8, "frame: more than 2264 bytes, which is the limit of this node"),
        (frame(9, &[]), refused, "frame: kind 0x09; expected a request to describe or to train"),
        (frame(2, b"no checkpoint"), refused, "request: "),
        (no_round, refused, "request: the checkpoint does not contain `number`"),
        (
            train_frame(Trainee::<5, 16>::new().net.parameters, ROUND),
            refused,
            "request: dimension 0 of tensor `fc1.weight`",
        ),
        (train_frame([0.0_f32; 4], ROUND), refused, "request: "),
        (
            train_frame(start(), Round { local_epochs: 0, ..ROUND }),
            refused,
            "round.local_epochs: 0; expected at least 1",
        ),
        (train_frame(start(), Round { partition: [8, 8], ..ROUND }), refused, "round.partition: 8 of 8; expected"),
        (
            train_frame(start(), Round { partition: [0, 1201], ..ROUND }),
            refused,
            "round.partition: 0 of 1201; expected",
        ),
        (train_frame(start(), Round { learning_rate: -1.0, ..ROUND }), refused, "round.learning_rate: expected"),
        (
            train_frame(start(), Round { number: 4, learning_rate: 1e30, ..ROUND }),
            refused,
            "loss: not finite in iteration",
        ),
    ];
    for (request, kind, expected) in cases {
        let (reply, text) = text(request, &mut flash);
        println!("{text}");
        assert_eq!(reply, kind, "{text}");
        assert!(text.contains(expected), "{text:?} does not contain {expected:?}");
        assert_eq!(content(&mut flash), image, "{text}");
    }
    let result = replies(train_frame(start(), ROUND), &mut flash);
    assert_eq!(result.len(), 1);
    assert_eq!(result_of(&result[0].1), expected());
}

#[test]
fn the_description_contains_the_newest_round() {
    #[derive(StateDict, Default)]
    struct Network {
        network: [u32; 3],
    }
    #[derive(Objects)]
    struct Description {
        node: Network,
        request: round::Request,
    }
    let mut flash = new_flash();
    for stored in [Round::NONE, ROUND] {
        let replies = replies(frame(Kind::Hello as u8, b""), &mut flash);
        assert_eq!((replies.len(), replies[0].0), (1, Kind::Description as u8));
        let mut description = Description { node: Network::default(), request: round::Request::NONE };
        checkpoint::load(&replies[0].1, &mut description, None).unwrap();
        assert_eq!((description.node.network, description.request.round), ([64, 4, 10], stored));
        self::replies(train_frame(start(), ROUND), &mut flash);
    }
}

#[test]
fn the_partitions_are_disjoint_and_complete() {
    for count in [1, 7, 8, 1200] {
        let mut images = Vec::new();
        for index in 0..count {
            let round = Round { partition: [index, count], ..ROUND };
            let before = images.len();
            images.extend((0..75).flat_map(|offset| round.batch(1, offset, 16)).map(|image| image.pixels().as_ptr()));
            assert_eq!(images.len() - before, round.images() as usize);
        }
        images.sort_unstable();
        images.dedup();
        assert_eq!(images.len(), 1200, "{count} partitions");
    }
}

#[test]
fn random_bytes_are_no_frame_and_do_not_hide_the_next_one() {
    let seed = std::env::var("FAILURE_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("FAILURE_SEED={seed}");
    let mut random = Random::new(seed);
    let mut buffer = [0; 300];
    for case in 0..2000 {
        let mut input: Vec<u8> = (0..random.below(600)).map(|_| random.byte()).collect();
        let mut encoded = [0; 64];
        let mut writer = FrameWriter::new(&mut encoded, Kind::Hello, case);
        writer.push(&case.to_le_bytes());
        let len = writer.finish();
        let mut line = Line { input: Vec::new(), output: Vec::new() };
        send(&mut line, &encoded, len).unwrap();
        input.extend(line.output);
        let (mut input, mut found) = (&input[..], Vec::new());
        while let Some(frame) = receive(&mut input, &mut buffer).unwrap() {
            match frame {
                Ok(Frame { kind, request, payload }) => found.push((kind, request, payload.to_vec())),
                Err(Damage::TooLong(limit)) => assert_eq!(limit, 300),
                Err(_) => (),
            }
        }
        assert_eq!(found, [(1, case, case.to_le_bytes().to_vec())], "case {case}");
    }
}
