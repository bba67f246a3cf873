//! Tests of the flash store on an asynchronous driver (embedded-storage-async). An adapter waits until each operation
//! is complete. A run must survive a power failure at every operation.

use embassy_futures::yield_now;
use training_monitor::checkpoint::Named;
use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use training_monitor::embedded_storage_async::nor_flash as driver;
use training_monitor::event::IterationCompleted;
use training_monitor::store::flash::{BlockingNorFlash, Slots};
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_std::test_support::flash::{ChipError, Flash, Interruption};

/// An asynchronous driver of a simulated flash. Each operation first yields once, so the adapter must poll it again.
struct Yielding<'a>(&'a mut Flash<8, 512>);

impl driver::ErrorType for Yielding<'_> {
    type Error = ChipError;
}

impl driver::ReadNorFlash for Yielding<'_> {
    const READ_SIZE: usize = 1;
    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        yield_now().await;
        ReadNorFlash::read(self.0, offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl driver::NorFlash for Yielding<'_> {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = 512;
    async fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        yield_now().await;
        NorFlash::erase(self.0, from, to)
    }
    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        yield_now().await;
        NorFlash::write(self.0, offset, bytes)
    }
}

/// Resumes the run from the flash and continues until it ends. Returns the final weight and the steps of the kept
/// checkpoints, or `None` if the power failed.
fn session(flash: &mut Flash<8, 512>) -> Option<(f32, Vec<u32>)> {
    let store = Slots::<_, 3>::open(BlockingNorFlash::new(Yielding(flash)), 0..3 * 512).ok()?;
    let policy = ModelCheckpoint::<2>::every(2).unwrap();
    let mut handler = policy.attach(IterationCompleted, store).ok()?;
    let mut weight = Named::new("weight", [1.0_f32]);
    let mut engine = Engine::new(3);
    engine.resume(&mut weight, &mut handler).ok()?;
    engine.run(&mut weight, 0..4, &mut handler, |weight, batch, _| weight[0] += weight[0] / (batch + 2) as f32).ok()?;
    Some((weight[0], handler.policy().kept().iter().map(|entry| entry.step).collect()))
}

#[test]
fn a_run_on_an_async_driver_survives_a_power_failure_at_every_operation() {
    let new_flash = || Flash::<8, 512>::new(3 * 512, 0xFF);
    let expected = session(&mut new_flash()).unwrap();
    assert_eq!(expected.1, [10, 12]);
    for operation in 0.. {
        let mut flash = new_flash();
        flash.cut_power_at(operation, Interruption::Nothing, operation);
        let result = session(&mut flash);
        if !flash.is_off() {
            assert!(operation > 50);
            assert_eq!(result.as_ref(), Some(&expected));
            break;
        }
        flash.power_on();
        assert_eq!(session(&mut flash).as_ref(), Some(&expected), "power failure at operation {operation}");
    }
}
