//! Handlers that are lent, optional, in an array or in a tuple are the handlers themselves: each way passes every call on,
//! before a cut and after it.

use training_monitor::checkpoint::One;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{NoScore, Step};
use training_monitor::handlers::saving::Saving;
use training_monitor::record::{RecordReader, RecordWriter};
use training_monitor::store::ram::Ram;
use training_monitor::{Engine, Event, Handler, ModelCheckpoint, State};

type Model = One<'static, [f32; 2]>;
type Checkpoints = Ram<3, 512>;
type Handlers = (Count, Saving<2, IterationCompleted, Checkpoints, NoScore>);
type Composed<'a> = Box<dyn Handler<Model, u32> + 'a>;

/// Counts what it is told, in a checkpoint too.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    iterations: u32,
    saved: u32,
}

impl Handler<Model, u32> for Count {
    fn on_event(&mut self, event: Event, _: &mut Model, _: &mut State<u32>) {
        self.iterations += u32::from(event == Event::IterationCompleted);
        self.saved += u32::from(event == Event::SavedCheckpoint);
    }
    fn save_state(&mut self, _: &State<u32>, record: &mut RecordWriter<'_>) {
        // As it will be once this checkpoint is announced, which is not told again after a cut.
        record.push(200, &(self.iterations, self.saved + 1));
    }
    fn restore_state(&mut self, _: &mut State<u32>, record: &mut RecordReader<'_>) {
        if let Some((iterations, saved)) = record.take(200) {
            *self = Count { iterations, saved };
        }
    }
}

fn handlers(store: Checkpoints) -> Handlers {
    let machine = ModelCheckpoint::builder().save_interval(1).n_saved(2).step(Step::Iteration).build().unwrap();
    (Count { iterations: 0, saved: 0 }, machine.attach(IterationCompleted, store).unwrap())
}

/// Iterations until there were `until`, or the run is over.
fn train(engine: &mut Engine<u32>, model: &mut Model, handlers: &mut Composed<'_>, until: u32) {
    let mut handlers = &mut **handlers;
    while engine.state().iteration() < until && engine.begin_iteration(model, &mut handlers) {
        model.1[0] += 0.5;
        model.1[1] *= -3.0;
        engine.end_iteration(0, model, &mut handlers);
    }
}

/// Trains in four epochs of three iterations with the handlers as `compose` puts them together, cut after so many
/// iterations. What the handlers and the model are in the end, and the steps that were kept.
fn trained(compose: for<'a> fn(&'a mut Handlers) -> Composed<'a>, cut: u32) -> (Count, [f32; 2], Vec<u32>) {
    let fresh = || (Engine::<u32>::new(4).with_epoch_length(3), One("m", [1.0, 2.0]));
    let (mut engine, mut model) = fresh();
    let mut all = handlers(Ram::new());
    train(&mut engine, &mut model, &mut compose(&mut all), cut);

    let (mut engine, mut model) = fresh();
    let mut all = handlers(all.1.into_store());
    let mut composed = compose(&mut all);
    let resumed = engine.resume(&mut model, &mut &mut *composed).unwrap();
    assert_eq!(resumed.map_or(0, |resumed| resumed.iteration), cut);
    train(&mut engine, &mut model, &mut composed, u32::MAX);
    drop(composed);
    (all.0, model.1, all.1.machine().kept().iter().map(|entry| entry.step).collect())
}

#[test]
fn handlers_do_the_same_however_they_are_composed() {
    let expected = trained(|all| Box::new((&mut all.0, &mut all.1)), 0);
    assert_eq!(expected.0, Count { iterations: 12, saved: 12 });
    assert_eq!(expected.2, [11, 12]);
    let ways: [for<'a> fn(&'a mut Handlers) -> Composed<'a>; 9] = [
        |all| Box::new(all),
        |all| Box::new(Some(all)),
        |all| Box::new((None::<&mut Handlers>, Some(all))),
        |all| Box::new([all]),
        |all| Box::new([None, Some(all)]),
        |all| Box::new((all,)),
        |all| Box::new(((), &mut all.0, (), &mut all.1)),
        |all| Box::new((&mut all.1, &mut all.0)),
        |all| Box::new([&mut all.0 as &mut dyn Handler<Model, u32>, &mut all.1]),
    ];
    for (way, compose) in ways.into_iter().enumerate() {
        for cut in [0, 1, 3, 7, 12] {
            assert_eq!(trained(compose, cut), expected, "way {way}, cut after {cut}");
        }
    }
}

/// With several that have checkpoints, the newest of all counts, whichever has it.
#[test]
fn the_newest_checkpoint_of_several_handlers_is_found() {
    for first in [true, false] {
        let (mut one, mut other) = (handlers(Ram::new()), handlers(Ram::new()));
        let mut model = One("m", [1.0, 2.0]);
        let mut engine = Engine::<u32>::new(1).with_epoch_length(3);
        // Both save twice, then one alone.
        train(&mut engine, &mut model, &mut (Box::new([&mut one, &mut other]) as Composed<'_>), 2);
        let (mut ahead, behind) = if first { (one, other) } else { (other, one) };
        train(&mut engine, &mut model, &mut (Box::new(&mut ahead) as Composed<'_>), 3);
        let trained = model.1;
        let (mut ahead, mut behind) = (handlers(ahead.1.into_store()), handlers(behind.1.into_store()));

        let mut array = if first { [&mut ahead, &mut behind] } else { [&mut behind, &mut ahead] };
        assert_eq!(
            [None, Some(3), Some(2), Some(1)].map(|below| array.newest(below)),
            [Some(3), Some(2), Some(1), None]
        );
        let mut model = One("m", [0.0; 2]);
        assert!(array.load(3, &mut model));
        assert_eq!(model.1, trained);
        assert!(!array.load(4, &mut model));
        assert_eq!(model.1, trained);
    }
}
