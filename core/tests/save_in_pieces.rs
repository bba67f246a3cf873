//! Tests of saves in pieces without a copy of the model.

#[path = "common/background_run.rs"]
mod background_run;
#[path = "common/store_access.rs"]
mod store_access;

use background_run::Training;
use store_access::{list_checkpoints, read_stream};
use training_monitor::checkpoint::{
    ElementType, EncodeError, Named, ObjectVisitor, TensorChunks, TensorUnavailable, TensorView, TensorVisitor,
};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::flash::{Slots, SlotsError};
use training_monitor::{ModelCheckpoint, Objects, StateDict};
use training_monitor_std::test_support::driver::{Access, FaultyFlash, FlashFault};
use training_monitor_std::test_support::flash::{Flash, Interruption};

const SIZE: usize = 3 * 8192;

/// Objects of several kinds: large tensors, small tensors, a tensor in chunks, and a value.
struct Mixed {
    large: Vec<f32>,
    small: [u8; 5],
    value: (u32, bool),
}

/// Doubles the elements of a tensor, and passes them in chunks of 7 elements.
struct Doubled<'a>(&'a [f32]);

impl TensorChunks for Doubled<'_> {
    fn chunks(
        &mut self,
        receive: &mut dyn FnMut(&[u8]) -> Result<(), TensorUnavailable>,
    ) -> Result<(), TensorUnavailable> {
        for chunk in self.0.chunks(7) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|weight| (2.0 * weight).to_ne_bytes()).collect();
            receive(&bytes)?;
        }
        Ok(())
    }
}

impl StateDict for Mixed {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let shape = [self.large.len() as u32];
        visitor.visit_tensor("large", TensorView::new(&shape, &mut self.large))?;
        visitor.tensor("small", &mut self.small)?;
        visitor.visit_chunks("chunks", ElementType::F32, &shape, &mut Doubled(&self.large))
    }
}

impl Objects for Mixed {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let mut value = self.value;
        visitor.value("value", &mut value)?;
        visitor.state_dict("net", self)
    }
}

fn mixed(len: usize) -> Mixed {
    Mixed { large: (0..len).map(|index| index as f32 / 3.0).collect(), small: [1, 2, 3, 4, 5], value: (7, true) }
}

/// Saves two checkpoints, blocking or in pieces of `PIECE` bytes, and returns the flash.
fn save_twice<const PIECE: usize>(in_pieces: bool, objects: &mut Mixed) -> Flash<8, 1024> {
    let mut flash = Flash::<8, 1024>::new(SIZE, 0xFF);
    flash.log = Some(Vec::new());
    let store = Slots::<_, 3>::open(&mut flash, 0..SIZE as u32).unwrap();
    let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
    for step in 1..=2 {
        let decision = SaveDecision { step, score: None };
        objects.value.0 = 100 * step;
        if in_pieces {
            let mut buffer = [0; PIECE];
            let mut save = handler.save_in_pieces(decision, step, None, objects, &mut buffer).unwrap();
            while !save.advance().unwrap() {}
            assert!(save.advance().unwrap(), "further calls do nothing");
        } else {
            handler.save(decision, step, None, objects).unwrap();
        }
    }
    drop(handler);
    assert_eq!(flash.violations(), []);
    flash
}

#[test]
fn pieces_of_every_length_give_the_flash_image_of_a_blocking_save() {
    for len in [0, 1, 9, 20, 700] {
        let expected = save_twice::<32>(false, &mut mixed(len));
        for flash in [
            save_twice::<32>(true, &mut mixed(len)),
            save_twice::<64>(true, &mut mixed(len)),
            save_twice::<96>(true, &mut mixed(len)),
            save_twice::<4096>(true, &mut mixed(len)),
            save_twice::<8192>(true, &mut mixed(len)),
        ] {
            assert_eq!(flash.log, expected.log, "{len} elements");
            assert!(flash.image() == expected.image(), "{len} elements");
        }
    }
}

#[test]
fn a_power_failure_at_every_operation_loses_nothing() {
    let mut complete = save_twice::<64>(true, &mut mixed(20));
    let operations = complete.log.take().unwrap();
    let mut store = Slots::<_, 3>::open(&mut complete, 0..SIZE as u32).unwrap();
    let expected = [1, 2].map(|step| read_stream(&mut store, step).unwrap());
    // The first checkpoint must survive each failure in the second save.
    let first = operations.iter().skip(1).position(|is_erase| *is_erase).unwrap() + 1;
    for (operation, is_erase) in operations.iter().enumerate() {
        for interruption in Interruption::all(*is_erase, 8) {
            let mut flash = Flash::<8, 1024>::new(SIZE, 0xFF);
            flash.cut_power_at(operation as u64, *interruption, 5);
            let store = Slots::<_, 3>::open(&mut flash, 0..SIZE as u32).unwrap();
            let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
            let mut acknowledged = Vec::new();
            for step in 1..=2 {
                let (mut buffer, mut objects) = ([0; 64], mixed(20));
                objects.value.0 = 100 * step;
                let decision = SaveDecision { step, score: None };
                let Ok(mut save) = handler.save_in_pieces(decision, step, None, &mut objects, &mut buffer) else {
                    break;
                };
                let saved = loop {
                    match save.advance() {
                        Ok(false) => (),
                        result => break result,
                    }
                };
                if saved.is_ok() {
                    acknowledged.push(step);
                }
            }
            drop(handler);
            assert!(flash.is_off());
            flash.power_on();
            assert_eq!(acknowledged.len(), usize::from(operation >= first), "operation {operation}");
            let mut store = Slots::<_, 3>::open(&mut flash, 0..SIZE as u32).unwrap();
            let listed: Vec<u32> = list_checkpoints(&mut store).unwrap().iter().map(|meta| meta.step).collect();
            assert!(acknowledged.iter().all(|step| listed.contains(step)), "operation {operation}: {interruption}");
            for step in acknowledged {
                assert_eq!(
                    read_stream(&mut store, step).unwrap(),
                    expected[step as usize - 1],
                    "operation {operation}"
                );
            }
            // The next save needs no repair.
            let store = Slots::<_, 3>::open(&mut flash, 0..SIZE as u32).unwrap();
            let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
            handler.save(SaveDecision { step: 3, score: None }, 3, None, &mut mixed(20)).unwrap();
            drop(handler);
            assert_eq!(flash.violations(), [], "operation {operation}: {interruption}");
        }
    }
}

#[test]
fn a_save_that_is_dropped_is_not_there() {
    let mut flash = Flash::<8, 1024>::new(SIZE, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, 0..SIZE as u32).unwrap();
    let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
    handler.save(SaveDecision { step: 1, score: None }, 1, None, &mut Training::new()).unwrap();
    let mut operations = 0;
    loop {
        let (mut buffer, mut training) = ([0; 64], Training::new());
        let decision = SaveDecision { step: 2, score: None };
        let mut save = handler.save_in_pieces(decision, 2, None, &mut training, &mut buffer).unwrap();
        if (0..operations).any(|_| save.advance().unwrap()) {
            break;
        }
        let kept: Vec<u32> = handler.policy().kept().iter().map(|kept| kept.step).collect();
        let listed = list_checkpoints(handler.store_mut()).unwrap().len();
        assert_eq!((kept.as_slice(), listed), (&[1][..], 1), "{operations} operations");
        operations += 1;
    }
    assert!(operations >= 10, "{operations} operations");
    assert_eq!(list_checkpoints(handler.store_mut()).unwrap().len(), 2);
    drop(handler);
    assert_eq!(flash.violations(), []);
}

#[test]
fn a_failed_write_is_repeated_in_another_place_and_then_reported() {
    for failing in [1..2, 1..u32::MAX] {
        let mut writes = 0;
        let is_permanent = failing.end > 2;
        let mut flash = FaultyFlash::new(Flash::<8, 1024>::new(SIZE, 0xFF), |access| {
            let is_write = matches!(access, Access::Write { .. });
            writes += u32::from(is_write);
            if is_write && failing.contains(&writes) { FlashFault::Fail } else { FlashFault::None }
        });
        let store = Slots::<_, 3>::open(&mut flash, 0..SIZE as u32).unwrap();
        let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
        let (mut buffer, mut weights) = ([0; 64], [1.0_f32; 50]);
        let mut model = Named::new("model", &mut weights);
        let decision = SaveDecision { step: 1, score: None };
        let mut save = handler.save_in_pieces(decision, 1, None, &mut model, &mut buffer).unwrap();
        let result = loop {
            match save.advance() {
                Ok(false) => (),
                result => break result,
            }
        };
        if is_permanent {
            assert!(matches!(result, Err(EncodeError::Io(SlotsError::Flash(_)))), "{result:?}");
            assert!(save.advance().is_err(), "further calls return an error");
        } else {
            assert!(matches!(result, Ok(true)));
        }
        assert_eq!(handler.policy().kept().len(), usize::from(!is_permanent));
    }
}

#[test]
fn another_save_ends_the_progress_of_the_first_one() {
    use training_monitor::checkpoint::{Encoded, Header};
    use training_monitor::store::{IncrementalStore, Store, StreamSpec};
    let mut store = Slots::<_, 2>::open(Flash::<8, 1024>::new(4096, 0xFF), 0..4096).unwrap();
    let header = Header { step: 1, sequence: 1, ..Header::default() };
    let spec = StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len: 40 };
    let mut first = store.begin(&spec).unwrap();
    while !store.prepare(&mut first).unwrap() {}
    store.write_piece(&mut first, &[0; 32]).unwrap();
    // A piece that is not a multiple of 32 bytes must be the last one.
    store.create(&StreamSpec { len: 48, ..spec }).unwrap();
    assert_eq!(store.write_piece(&mut first, &[0; 8]), Err(SlotsError::Incomplete));
    let encoded = Encoded { len: 40, crc: 0 };
    assert_eq!(store.commit_next(&mut first, &header, &encoded), Err(SlotsError::Incomplete));

    let mut second = store.begin(&spec).unwrap();
    while !store.prepare(&mut second).unwrap() {}
    assert_eq!(store.prepare(&mut second), Err(SlotsError::Incomplete));
    store.write_piece(&mut second, &[0; 4]).unwrap();
    assert_eq!(store.write_piece(&mut second, &[0; 36]), Err(SlotsError::Incomplete));
    assert_eq!(store.commit_next(&mut second, &header, &encoded), Err(SlotsError::Incomplete));
}

#[test]
fn a_wrong_checksum_is_not_committed() {
    use training_monitor::checkpoint::{Contents, Encoded, encode};
    use training_monitor::store::{IncrementalStore, Store, StreamSpec};
    let mut store = Slots::<_, 2>::open(Flash::<8, 1024>::new(4096, 0xFF), 0..4096).unwrap();
    let mut weights = [1.0_f32; 9];
    let mut bytes = Vec::new();
    let contents = Contents::new(1);
    let encoded = encode(&mut bytes, &contents, &mut Named::new("model", &mut weights)).unwrap();
    let Encoded { len, crc } = encoded;
    let header = contents.header;
    let spec = StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len };
    for (crc, is_valid) in [(crc ^ 1, false), (crc, true)] {
        let mut progress = store.begin(&spec).unwrap();
        while !store.prepare(&mut progress).unwrap() {}
        store.write_piece(&mut progress, &bytes).unwrap();
        let result = loop {
            match store.commit_next(&mut progress, &header, &Encoded { len, crc }) {
                Ok(false) => (),
                result => break result,
            }
        };
        assert_eq!(result, if is_valid { Ok(true) } else { Err(SlotsError::VerifyFailed) });
        assert_eq!(store.stream_count(header.sequence), Ok(u32::from(is_valid)));
    }
}
