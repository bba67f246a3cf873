//! A run with averages, a plateau and a spike guard on simulated flash: a power failure at any operation does not change its
//! result.

use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::handlers::keep::KeepMetrics;
use training_monitor::store::flash::Slots;
use training_monitor::{
    Engine, ModelCheckpoint, Objects, Outcome, ReduceOnPlateau, RunError, RunningAverage, SpikeGuard, StateDict,
    WeightAverage,
};
use training_monitor_std::test_support::flash::{Flash, Interruption};

#[derive(StateDict, Clone, Copy, PartialEq, Debug)]
struct Net {
    weights: [f32; 3],
    exponential: [f32; 3],
    equal: [f32; 3],
}

/// The learning rate is not saved, because the plateau handler restores it.
#[derive(Objects, Clone, Copy, PartialEq, Debug)]
struct Model {
    net: Net,
    #[objects(skip)]
    rate: f32,
}

/// The outcome, the model, the running average, the spikes and the numbers of updates.
type Final = (Outcome, Model, f32, u32, [u32; 2]);

/// Resumes the run from the flash and continues until the run ends or power fails.
fn session<const W: usize, const E: usize>(flash: &mut Flash<W, E>) -> Result<Final, RunError> {
    let size = flash.image().len() as u32;
    let store = Slots::<_, 3>::open(flash, 0..size).unwrap();
    let types = RunTypes::<Model, f32, f32>::new();
    let mut handlers = (
        ModelCheckpoint::<2>::every(4).unwrap().attach(IterationCompleted, store).unwrap(),
        WeightAverage::exponential(0.125).unwrap().with_warmup(0.75, 9).unwrap().attach(
            IterationCompleted,
            types.pairs(|model, pair| pair(&mut model.net.exponential, &mut model.net.weights)),
        ),
        WeightAverage::equal()
            .attach(EpochCompleted, types.pairs(|model, pair| pair(&mut model.net.equal, &mut model.net.weights))),
        RunningAverage::new(0.75).unwrap().attach(
            IterationCompleted,
            types.score(|state| state.output.unwrap_or(f32::NAN)),
            types.store(|state, average| state.metrics = average),
        ),
        KeepMetrics,
        ReduceOnPlateau::new(0.5).unwrap().with_mode(Mode::Min).with_patience(1).with_factor(0.5).unwrap().attach(
            EpochCompleted,
            types.score(|state| state.metrics),
            types.parameter(|model, rate| model.rate = rate),
        ),
        SpikeGuard::new().with_warmup(3).attach(
            IterationCompleted,
            types.score(|state| state.output.unwrap_or(f32::NAN)),
            |_, _, _| (),
        ),
    );
    let net = Net { weights: [0.5, -0.25, 1.0], exponential: [f32::NAN; 3], equal: [f32::NAN; 3] };
    let mut model = Model { net, rate: f32::NAN };
    let mut engine = Engine::<f32, f32, 256>::with_record_capacity(6, 0.0);
    engine.resume(&mut model, &mut handlers).unwrap();
    let outcome = engine.run(&mut model, 0..5, &mut handlers, |model, batch, state| {
        let Model { net, rate } = model;
        net.weights.iter_mut().for_each(|weight| *weight -= *rate * (*weight - 0.25 * batch as f32));
        if state.iteration() % 11 == 8 { 90.0 } else { net.weights[0].abs() + 0.125 * batch as f32 }
    })?;
    let (_, exponential, equal, running, _, _, guard) = &handlers;
    let updates = [exponential.weight_average.updates(), equal.weight_average.updates()];
    Ok((outcome, model, running.running_average.value().unwrap(), guard.spike_guard.spike_count(), updates))
}

fn interrupt_every_operation<const W: usize, const E: usize>(erased: u8) {
    let new_flash = || Flash::<W, E>::new(3 * 512_usize.next_multiple_of(E), erased);
    let mut flash = new_flash();
    flash.log = Some(Vec::new());
    let expected = session(&mut flash).unwrap();
    let (_, model, _, spikes, updates) = expected;
    assert!(spikes == 3 && updates == [30, 6] && model.rate < 0.5, "{expected:?}");
    let operations = flash.log.take().unwrap();
    for (operation, is_erase) in operations.iter().enumerate() {
        let interruptions = Interruption::all(*is_erase, W);
        let interruption = interruptions[operation * 7 % interruptions.len()];
        let mut flash = new_flash();
        flash.cut_power_at(operation as u64, interruption, operation as u64);
        let mut result = session(&mut flash);
        assert!(result.is_err() || flash.is_off(), "operation {operation}: power did not fail");
        flash.power_on();
        if result.is_err() {
            result = session(&mut flash);
        }
        assert_eq!(result.unwrap(), expected, "operation {operation}, {interruption}");
        assert_eq!(flash.violations(), []);
    }
}

#[test]
fn power_failure_at_any_operation_does_not_change_the_result() {
    interrupt_every_operation::<4, 256>(0xFF);
    interrupt_every_operation::<32, 512>(0);
}
