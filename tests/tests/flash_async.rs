//! Flash slots over a driver that is async (embedded-storage-async): blocking on each of its operations.
//!
//! There is no async twin of the slots, on purpose. A checkpoint is written while its objects are walked through, by
//! functions of the user's own (`Objects`, `StateDict`, `Serialize`) that cannot await; an async store would need an
//! encoder and a decoder of its own, and the model would have to hold still across every await anyway. What a driver
//! awaits, the end of an erase or of a page, may be waited for in place: other tasks of the executor stand still, interrupts
//! and executors of a higher priority do not, and `erase_ahead` takes the long part out of the save.

use embassy_futures::{block_on, yield_now};
use embedded_storage_async::nor_flash as driver;
use training_monitor::checkpoint::One;
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use training_monitor::event::IterationCompleted;
use training_monitor::store::slots::Slots;
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_tests::flash::{Fault, Flash, Outcome};

/// A blocking driver made of an async one: all that there is to it.
struct Blocking<F>(F);

impl<F: driver::ErrorType> ErrorType for Blocking<F> {
    type Error = F::Error;
}

impl<F: driver::ReadNorFlash> ReadNorFlash for Blocking<F> {
    const READ_SIZE: usize = F::READ_SIZE;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        block_on(self.0.read(offset, bytes))
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<F: driver::NorFlash> NorFlash for Blocking<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        block_on(self.0.erase(from, to))
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        block_on(self.0.write(offset, bytes))
    }
}

/// A flash whose operations end later than they begin.
struct Later<'a>(&'a mut Flash<8, 512>);

impl driver::ErrorType for Later<'_> {
    type Error = Fault;
}

impl driver::ReadNorFlash for Later<'_> {
    const READ_SIZE: usize = 1;
    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        yield_now().await;
        ReadNorFlash::read(self.0, offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl driver::NorFlash for Later<'_> {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = 512;
    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        yield_now().await;
        NorFlash::erase(self.0, from, to)
    }
    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        yield_now().await;
        NorFlash::write(self.0, offset, bytes)
    }
}

/// From power on to the end of the run: the weight that it comes to, and the steps that are kept.
fn session(flash: &mut Flash<8, 512>) -> Option<(f32, Vec<u32>)> {
    let store = Slots::<_, 3>::open(Blocking(Later(flash)), 0..3 * 512).ok()?;
    let machine = ModelCheckpoint::<2>::builder().save_interval(2).n_saved(2).build().unwrap();
    let mut saving = machine.attach(IterationCompleted, store).ok()?;
    let mut weight = One("weight", [1.0_f32]);
    let mut engine = Engine::new(3);
    engine.resume(&mut weight, &mut saving).ok()?;
    engine
        .run(&mut weight, 0..4, &mut saving, |weight, batch, _| weight.1[0] += weight.1[0] / (batch + 2) as f32)
        .ok()?;
    Some((weight.1[0], saving.machine().kept().iter().map(|entry| entry.step).collect()))
}

#[test]
fn an_async_driver_is_one_that_is_waited_for() {
    let fresh = || Flash::<8, 512>::new(3 * 512, 0xFF);
    let expected = session(&mut fresh()).unwrap();
    assert_eq!(expected.1, [10, 12]);
    for cut in 0.. {
        let mut flash = fresh();
        flash.cut_at(cut, Outcome::Nothing, cut);
        let end = session(&mut flash);
        if !flash.is_off() {
            assert!(cut > 50);
            assert_eq!(end.as_ref(), Some(&expected));
            break;
        }
        flash.power_on();
        assert_eq!(session(&mut flash).as_ref(), Some(&expected), "cut at {cut}");
    }
}
