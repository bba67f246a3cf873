//! Checkpoints in a serial FRAM, on a device whose power fails again and again.
//!
//! The driver below stands for a serial FRAM at a clock of 40 MHz. It counts the bits on the bus, so that the program can
//! print how long a save takes. The power fails during a save again and again, at another byte each time. The run
//! resumes after each failure, and ends with the weights of an uninterrupted run.
//!
//! Run it with `cargo run -p training-monitor --example byte_memory --features byte-addressable`.

use core::cell::RefCell;
use training_monitor::checkpoint::Named;
use training_monitor::embedded_storage::{ReadStorage, Storage};
use training_monitor::event::IterationCompleted;
use training_monitor::store::byte_addressable::{ByteSlots, SharedStorage};
use training_monitor::{Engine, ModelCheckpoint};

const CLOCK_MHZ: u64 = 40;
/// The command and the address of a call, in bytes.
const CALL: u64 = 4;
/// The command that enables the next write, in bytes.
const WRITE_ENABLE: u64 = 1;

/// A serial FRAM of 8 KiB. A real driver sends the bytes over SPI.
struct Fram {
    bytes: [u8; 8192],
    /// The number of bits that were sent over the bus.
    bits: u64,
    /// The number of bytes that can be written before the power fails.
    bytes_to_failure: usize,
}

/// The power is off, or the address is outside the memory.
#[derive(Debug)]
struct Failed;

impl ReadStorage for Fram {
    type Error = Failed;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failed> {
        if self.bytes_to_failure == 0 {
            return Err(Failed);
        }
        self.bits += 8 * (CALL + bytes.len() as u64);
        let source = self.bytes.get(offset as usize..).and_then(|rest| rest.get(..bytes.len())).ok_or(Failed)?;
        bytes.copy_from_slice(source);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl Storage for Fram {
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failed> {
        self.bits += 8 * (WRITE_ENABLE + CALL + bytes.len() as u64);
        let written = bytes.len().min(self.bytes_to_failure);
        let target = self.bytes.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..written)).ok_or(Failed)?;
        target.copy_from_slice(&bytes[..written]);
        self.bytes_to_failure -= written;
        if written == bytes.len() { Ok(()) } else { Err(Failed) }
    }
}

/// Runs the program from a start of the device. Returns the weights, or `None` if the power failed.
fn start(fram: &RefCell<Fram>) -> Option<[f32; 100]> {
    // One checkpoint is kept, so two slots.
    let store = ByteSlots::<_, 2>::open(SharedStorage(fram), 0..2048).ok()?;
    let mut checkpoint = ModelCheckpoint::<1>::every(5).ok()?.attach(IterationCompleted, store).ok()?;
    let mut model = Named::new("weights", [1.0_f32; 100]);
    let mut engine = Engine::new(4);
    engine.resume(&mut model, &mut checkpoint).ok()?;
    let run = engine.run(&mut model, 0..10_u32, &mut checkpoint, |model, batch, _| {
        model.iter_mut().enumerate().for_each(|(index, weight)| *weight += *weight / (batch + index as u32 + 2) as f32);
    });
    run.ok()?;
    Some(model.object)
}

fn main() {
    let new_fram = || RefCell::new(Fram { bytes: [0xA5; 8192], bits: 0, bytes_to_failure: usize::MAX });

    let fram = new_fram();
    let expected = start(&fram).expect("the power does not fail");
    let (saves, bits) = (8, fram.borrow().bits);
    println!("8 saves of 100 weights: {} µs on the bus for each save", bits / CLOCK_MHZ / saves);
    assert!(bits / CLOCK_MHZ / saves < 400);

    // The power fails after 700, 701, … written bytes. A save writes about 600 bytes, so each start completes a save.
    let fram = new_fram();
    let mut failures = 0;
    let weights = loop {
        fram.borrow_mut().bytes_to_failure = 700 + failures;
        match start(&fram) {
            Some(weights) => break weights,
            None => failures += 1,
        }
    };
    assert!(failures > 3);
    assert_eq!(weights, expected);
    println!("the power failed {failures} times, and the run has the same weights");
}
