//! What a handler is, and how several are composed.
//!
//! A handler sees every event in [`Handler::on_event`] and *decides*; only when all handlers have seen the event are
//! those with something [pending](Handler::pending) asked to [`act`](Handler::act), which is where checkpoints are
//! written. So what a checkpoint holds never depends on the order in which handlers were attached.
//!
//! Handlers are composed in tuples (up to twelve, nested as deep as you like), arrays, `Option`s and `&mut`
//! references. All of it is known to the compiler: an event that a handler does not listen to costs it nothing.
//! This file holds no state and fires nothing.
//!
//! ```
//! use training_monitor::{Engine, Event, Handler, State};
//!
//! /// Counts iterations whose loss is above a bar.
//! struct Spikes { bar: f32, seen: u32 }
//!
//! impl<T: ?Sized> Handler<T, f32> for Spikes {
//!     fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<f32>) {
//!         if event == Event::IterationCompleted && state.output.is_some_and(|loss| loss > self.bar) {
//!             self.seen += 1;
//!         }
//!     }
//! }
//!
//! let mut spikes = Spikes { bar: 1.0, seen: 0 };
//! let losses = [0.5, 2.0, 0.1, 3.0];
//! Engine::new(1).run(&mut (), &losses[..], &mut spikes, |_, loss, _| *loss)?;
//! assert_eq!(spikes.seen, 2);
//! # Ok::<(), training_monitor::RunError>(())
//! ```

use crate::engine::Engine;
use crate::event::{Event, When};
use crate::record::{Record, RecordReader, RecordWriter};
use crate::state::State;

/// Something that watches a run. `T` is the user's own context (the model and what belongs to it), `O` what the step
/// function returns, `X` the metrics.
///
/// Only [`on_event`](Self::on_event) has to be written. The others are for handlers that write, or whose state must
/// survive a restart.
pub trait Handler<T: ?Sized, O, X = ()> {
    /// Sees `event` and decides. Called in the order of the tuple.
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>);

    /// Whether [`act`](Self::act) has something to do. The engine asks only after [`State::request_act`].
    #[inline(always)]
    fn pending(&self) -> bool {
        false
    }

    /// Does what was decided; all handlers have seen the event. `record` is the run at this moment: the engine's
    /// counters and the state of every handler. Returns whether a checkpoint was committed.
    #[inline(always)]
    fn act(&mut self, model: &mut T, state: &mut State<O, X>, record: &Record) -> bool {
        let _ = (model, state, record);
        false
    }

    /// Adds the handler's state, if it has one, to the record of the run. What does not fit there makes the save fail.
    /// `state` is for handlers that keep a part of the run's own state, as [`keep`](crate::handlers::keep) does.
    #[inline(always)]
    fn save_state(&mut self, state: &State<O, X>, record: &mut RecordWriter<'_>) {
        let _ = (state, record);
    }

    /// Takes back what [`save_state`](Self::save_state) added. Called twice: once to check the whole record, when
    /// [`RecordReader::take`] returns `None`, and once to change things; `state` has the restored counters then.
    #[inline(always)]
    fn restore_state(&mut self, state: &mut State<O, X>, record: &mut RecordReader<'_>) {
        let _ = (state, record);
    }

    /// The newest checkpoint from which a run can go on, as its iteration; only those before `below`, if given.
    #[inline(always)]
    fn newest(&mut self, below: Option<u32>) -> Option<u32> {
        let _ = below;
        None
    }

    /// Reads the checkpoint that [`newest`](Self::newest) told of to its end and holds it against `model`, which is
    /// not changed; its run goes to `record`. False when it is damaged, does not fit or has no run.
    #[inline(always)]
    fn verify(&mut self, iteration: u32, model: &mut T, record: &mut Record) -> bool {
        let _ = (iteration, model, record);
        false
    }

    /// Loads into `model` the checkpoint that [`verify`](Self::verify) found good. False when the medium has failed
    /// since.
    #[inline(always)]
    fn load(&mut self, iteration: u32, model: &mut T) -> bool {
        let _ = (iteration, model);
        false
    }
}

/// No handler at all.
impl<T: ?Sized, O, X> Handler<T, O, X> for () {
    #[inline(always)]
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<O, X>) {}
}

/// Passes every call on to the handlers that `$all` (from `&mut self`) and `$shared` (from `&self`) go through.
macro_rules! forward {
    ($self:ident, $all:expr, $shared:expr) => {
        #[inline(always)]
        fn on_event(&mut $self, event: Event, model: &mut T, state: &mut State<O, X>) {
            $all.for_each(|handler| handler.on_event(event, model, state));
        }
        #[inline(always)]
        fn pending(&$self) -> bool {
            $shared.any(|handler| handler.pending())
        }
        #[inline(always)]
        fn act(&mut $self, model: &mut T, state: &mut State<O, X>, record: &Record) -> bool {
            $all.fold(false, |saved, handler| (handler.pending() && handler.act(model, state, record)) | saved)
        }
        #[inline(always)]
        fn save_state(&mut $self, state: &State<O, X>, record: &mut RecordWriter<'_>) {
            $all.for_each(|handler| handler.save_state(state, record));
        }
        #[inline(always)]
        fn restore_state(&mut $self, state: &mut State<O, X>, record: &mut RecordReader<'_>) {
            $all.for_each(|handler| handler.restore_state(state, record));
        }
        #[inline(always)]
        fn newest(&mut $self, below: Option<u32>) -> Option<u32> {
            $all.filter_map(|handler| handler.newest(below)).max()
        }
        #[inline(always)]
        fn verify(&mut $self, iteration: u32, model: &mut T, record: &mut Record) -> bool {
            $all.any(|handler| handler.verify(iteration, model, record))
        }
        #[inline(always)]
        fn load(&mut $self, iteration: u32, model: &mut T) -> bool {
            $all.any(|handler| handler.load(iteration, model))
        }
    };
}

impl<T: ?Sized, O, X, H: Handler<T, O, X> + ?Sized> Handler<T, O, X> for &mut H {
    forward!(self, core::iter::once(&mut **self), core::iter::once(&**self));
}

impl<T: ?Sized, O, X, H: Handler<T, O, X>> Handler<T, O, X> for Option<H> {
    forward!(self, self.iter_mut(), self.iter());
}

impl<T: ?Sized, O, X, H: Handler<T, O, X>, const N: usize> Handler<T, O, X> for [H; N] {
    forward!(self, self.iter_mut(), self.iter());
}

macro_rules! tuples {
    ($($name:ident . $index:tt)+) => {
        impl<T: ?Sized, O, X, $($name: Handler<T, O, X>),+> Handler<T, O, X> for ($($name,)+) {
            #[inline(always)]
            fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
                $(self.$index.on_event(event, model, state);)+
            }
            #[inline(always)]
            fn pending(&self) -> bool {
                $(self.$index.pending())||+
            }
            #[inline(always)]
            fn act(&mut self, model: &mut T, state: &mut State<O, X>, record: &Record) -> bool {
                let mut saved = false;
                $(saved |= self.$index.pending() && self.$index.act(model, state, record);)+
                saved
            }
            #[inline(always)]
            fn save_state(&mut self, state: &State<O, X>, record: &mut RecordWriter<'_>) {
                $(self.$index.save_state(state, record);)+
            }
            #[inline(always)]
            fn restore_state(&mut self, state: &mut State<O, X>, record: &mut RecordReader<'_>) {
                $(self.$index.restore_state(state, record);)+
            }
            #[inline(always)]
            fn newest(&mut self, below: Option<u32>) -> Option<u32> {
                let mut newest = None;
                $(newest = newest.max(self.$index.newest(below));)+
                newest
            }
            #[inline(always)]
            fn verify(&mut self, iteration: u32, model: &mut T, record: &mut Record) -> bool {
                $(self.$index.verify(iteration, model, record))||+
            }
            #[inline(always)]
            fn load(&mut self, iteration: u32, model: &mut T) -> bool {
                $(self.$index.load(iteration, model))||+
            }
        }
    };
}

tuples!(A.0);
tuples!(A.0 B.1);
tuples!(A.0 B.1 C.2);
tuples!(A.0 B.1 C.2 D.3);
tuples!(A.0 B.1 C.2 D.3 E.4);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7 I.8);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7 I.8 J.9);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7 I.8 J.9 K.10);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7 I.8 J.9 K.10 L.11);

/// Calls `call` with the model and the state whenever `when` fires: the shortest way to a handler.
///
/// ```
/// use training_monitor::{Engine, State, event::EpochCompleted, on};
///
/// let mut epochs = 0;
/// let count = on(EpochCompleted, |_: &mut (), _: &mut State<u32>| epochs += 1);
/// Engine::new(3).run(&mut (), 0..5, &mut { count }, |_, batch, _| batch)?;
/// assert_eq!(epochs, 3);
/// # Ok::<(), training_monitor::RunError>(())
/// ```
pub const fn on<W, F>(when: W, call: F) -> On<W, F> {
    On { when, call }
}

/// A function as a handler; see [`on`].
#[derive(Clone, Copy, Debug)]
pub struct On<W, F> {
    when: W,
    call: F,
}

impl<W, F> On<W, F> {
    /// Gives the function a second engine and its handlers: an evaluator. The state of those handlers is part of the
    /// run's record, so an [`EarlyStopping`](crate::EarlyStopping) attached to an evaluator survives a restart.
    pub fn with<O, X, H>(self, engine: Engine<O, X>, handlers: H) -> OnWith<W, F, O, X, H> {
        OnWith { when: self.when, call: self.call, engine, handlers }
    }
}

impl<T: ?Sized, O, X, W: When, F: FnMut(&mut T, &mut State<O, X>)> Handler<T, O, X> for On<W, F> {
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if self.when.fires(event, state.counters()) {
            (self.call)(model, state);
        }
    }
}

/// A function that runs a second engine, with that engine and its handlers; see [`On::with`].
#[derive(Clone, Debug)]
pub struct OnWith<W, F, O, X, H> {
    when: W,
    call: F,
    /// The second engine.
    pub engine: Engine<O, X>,
    /// Its handlers.
    pub handlers: H,
}

impl<T, O, X, W, F, O2, X2, H> Handler<T, O, X> for OnWith<W, F, O2, X2, H>
where
    T: ?Sized,
    W: When,
    F: FnMut(&mut T, &mut State<O, X>, &mut Engine<O2, X2>, &mut H),
    H: Handler<T, O2, X2>,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if self.when.fires(event, state.counters()) {
            (self.call)(model, state, &mut self.engine, &mut self.handlers);
        }
    }
    fn save_state(&mut self, _: &State<O, X>, record: &mut RecordWriter<'_>) {
        self.handlers.save_state(self.engine.state(), record);
    }
    fn restore_state(&mut self, _: &mut State<O, X>, record: &mut RecordReader<'_>) {
        self.handlers.restore_state(self.engine.state_mut(), record);
    }
}
