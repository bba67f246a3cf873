//! Tests of attached averages: interrupted runs, skipped updates, and the start of a run.

use training_monitor::event::{Any, EpochCompleted, IterationCompleted};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::handlers::keep::KeepMetrics;
use training_monitor::run_record::RunRecord;
use training_monitor::{EarlyStopping, Engine, Event, EventFilter, Handler, RunningAverage, State, WeightAverage};

#[derive(Clone, Copy, PartialEq, Debug)]
struct Net {
    weights: [f32; 3],
    ema: [f32; 3],
    mean: [f32; 3],
}

const NEW: Net = Net { weights: [0.5, -0.25, 1.0], ema: [f32::NAN; 3], mean: [f32::NAN; 3] };

/// Copies of the model and the record after events.
type Saved = Vec<(Net, RunRecord)>;

/// Saves the model and the record of every event.
#[derive(Default)]
struct SaveEverything(Saved);

impl Handler<Net, f32, f32> for SaveEverything {
    fn on_event(&mut self, _: Event, _: &mut Net, state: &mut State<f32, f32>) {
        state.request_action();
    }
    fn perform(&mut self, net: &mut Net, _: &mut State<f32, f32>, record: &RunRecord<[u8]>) -> bool {
        let mut copy = RunRecord::new();
        (&mut copy as &mut RunRecord<[u8]>).copy_from(record);
        self.0.push((*net, copy));
        false
    }
}

/// Runs up to five epochs with all averages, from the beginning or from a saved event. Returns everything that the run
/// computed, and the saved events.
fn run(from: Option<&(Net, RunRecord)>) -> ((Net, f32, u32, u32, u32), Saved) {
    let types = RunTypes::<Net, f32, f32>::new();
    let mut handlers = (
        SaveEverything::default(),
        WeightAverage::exponential(0.125)
            .unwrap()
            .with_warmup(0.75, 4)
            .unwrap()
            .attach(IterationCompleted, types.pairs(|net, pair| pair(&mut net.ema, &mut net.weights))),
        WeightAverage::equal()
            .attach(EpochCompleted.after(1), types.pairs(|net, pair| pair(&mut net.mean, &mut net.weights))),
        RunningAverage::new(0.75).unwrap().attach(
            IterationCompleted,
            types.score(|state| state.output.unwrap_or(f32::NAN)),
            types.store(|state, average| state.metrics = average),
        ),
        KeepMetrics,
        EarlyStopping::new(2).unwrap().with_mode(Mode::Min).attach(EpochCompleted, types.score(|state| state.metrics)),
    );
    let mut engine = Engine::with_metrics(5, 0.0);
    let mut net = NEW;
    if let Some((saved, record)) = from {
        net = *saved;
        engine.restore::<Net, _>(record, &mut handlers).unwrap();
    }
    engine
        .run(&mut net, 0..3, &mut handlers, |net, batch, state| {
            net.weights.iter_mut().for_each(|weight| *weight = *weight * 0.9 + 0.01 * batch as f32);
            net.weights[2] = if state.iteration() == 5 { f32::NAN } else { 1.0 / state.iteration() as f32 };
            (net.weights[0] - 0.03).abs()
        })
        .unwrap();
    let (_, ema, mean, smoothed, ..) = &handlers;
    assert_eq!(smoothed.running_average.value(), Some(engine.state().metrics));
    let result = (
        net,
        engine.state().metrics,
        ema.weight_average.updates(),
        mean.weight_average.updates(),
        engine.state().iteration(),
    );
    (result, handlers.0.0)
}

#[test]
fn a_run_that_is_interrupted_after_any_event_ends_with_the_same_bits() {
    let (expected, saved) = run(None);
    let (net, smoothed, ema_updates, mean_updates, iterations) = expected;
    assert_eq!((ema_updates, mean_updates), (iterations - 1, iterations / 3 - 1)); // one NaN; the first epoch
    assert!(smoothed.is_finite() && [net.ema, net.mean].concat().iter().all(|average| average.is_finite()));
    for (index, event) in saved.iter().enumerate() {
        let (resumed, _) = run(Some(event));
        let bits =
            |net: &Net| [net.weights, net.ema, net.mean].concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&resumed.0), bits(&net), "{index}");
        assert_eq!(
            (resumed.1.to_bits(), resumed.2, resumed.3, resumed.4),
            (smoothed.to_bits(), ema_updates, mean_updates, iterations),
            "{index}"
        );
    }
}

#[test]
fn an_attached_average_counts_skipped_updates() {
    let pairs =
        |net: &mut ([f32; 1], [f32; 1]), pair: &mut dyn FnMut(&mut [f32], &mut [f32])| pair(&mut net.1, &mut net.0);
    let mut handler = WeightAverage::exponential(0.5).unwrap().attach(IterationCompleted, pairs);
    let mut net = ([f32::NAN], [7.0]);
    let weights = [f32::NAN, 2.0, f32::INFINITY, 4.0];
    Engine::new(1).run(&mut net, &weights[..], &mut handler, |net, weight, _| net.0[0] = *weight).unwrap();
    // The start and two updates are skipped. The first update that is not skipped copies the weight.
    assert_eq!((handler.skipped(), handler.weight_average.updates(), net.1), (3, 2, [3.0]));
}

/// `Any` also selects `Started`: the average starts with the weights, and then updates.
#[test]
fn a_filter_can_select_the_start() {
    let pairs =
        |net: &mut ([f32; 1], [f32; 1]), pair: &mut dyn FnMut(&mut [f32], &mut [f32])| pair(&mut net.1, &mut net.0);
    let mut handler = WeightAverage::exponential(0.5).unwrap().attach(Any, pairs);
    let mut net = ([3.0], [7.0]);
    Engine::<()>::new(0).run(&mut net, 0..1, &mut handler, |_, _, _| ()).unwrap();
    assert_eq!((handler.weight_average.updates(), net.1), (2, [3.0])); // `Started` and `Completed`
}
