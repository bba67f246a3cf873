//! The next firmware has another number of hidden units, or weights of another type, and finds the checkpoints of the earlier firmware.

use digits_workload::monitored::{self, Plan, RunObserver};
use digits_workload::quantized::QuantizedTrainee;
use digits_workload::train::Trainee;
use std::cell::RefCell;
use training_monitor::engine::Resumed;
use training_monitor::store::ram::{Ram, RamError};

/// A store with three places for checkpoints of up to 4 KiB.
type Place = Ram<3, 4096>;

/// Collects where each run resumed: the iteration, or `None` for a run that started from the beginning.
#[derive(Default)]
struct Starts(RefCell<Vec<Option<u32>>>);

impl RunObserver<RamError> for Starts {
    fn on_start(&self, resumed: Option<Resumed>) {
        self.0.borrow_mut().push(resumed.map(|resumed| resumed.iteration));
    }
}

#[test]
fn a_program_with_another_model_completes_its_run_on_the_same_stores() {
    let (mut latest, mut best, starts) = (Place::new(), Place::new(), Starts::default());
    // The earlier model has better scores than the later one reaches in its single epoch.
    let plan = Plan { max_epochs: 4, ..Plan::DEFAULT };
    let old = monitored::run(&mut Trainee::<4, 32>::new(), plan, &mut latest, &mut best, &starts).unwrap();
    let plan = Plan { max_epochs: 1, ..Plan::DEFAULT };
    let new = monitored::run(&mut Trainee::<2, 32>::new(), plan, &mut latest, &mut best, &starts).unwrap();
    assert!(old.test.loss < new.test.loss);
    assert_eq!((new.outcome.epoch, new.outcome.iteration), (1, Trainee::<2, 32>::BATCHES));
    // The next start of the new program finds its own checkpoints.
    let again = monitored::run(&mut Trainee::<2, 32>::new(), plan, &mut latest, &mut best, &starts).unwrap();
    assert_eq!((again.outcome, again.test), (new.outcome, new.test));
    assert_eq!(starts.0.take(), [None, None, Some(Trainee::<2, 32>::BATCHES)]);
}

#[test]
fn a_program_with_quantized_weights_starts_a_new_run_on_the_same_stores() {
    let (mut latest, mut best, starts) = (Place::new(), Place::new(), Starts::default());
    let plan = Plan { max_epochs: 2, ..Plan::DEFAULT };
    monitored::run(&mut Trainee::<4, 32>::new(), plan, &mut latest, &mut best, &starts).unwrap();
    let new = monitored::run(&mut QuantizedTrainee::<4, 32>::new(), plan, &mut latest, &mut best, &starts).unwrap();
    let again = monitored::run(&mut QuantizedTrainee::<4, 32>::new(), plan, &mut latest, &mut best, &starts).unwrap();
    assert_eq!((again.outcome, again.test), (new.outcome, new.test));
    assert_eq!(starts.0.take(), [None, None, Some(2 * Trainee::<4, 32>::BATCHES)]);
}
