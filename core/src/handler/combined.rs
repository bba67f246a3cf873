//! Handlers that consist of other handlers: tuples, arrays, `Option`s and references.

use super::{Handler, StartCheck, Wear};
use crate::checkpoint::EncodeError;
use crate::event::Event;
use crate::run_record::{HandlerStates, RestoreError, ResumePoint, RunRecord};
use crate::state::State;
use embedded_io::ErrorKind;

/// A handler that does nothing, for a run without handlers.
impl<T: ?Sized, O, X> Handler<T, O, X> for () {
    #[inline(always)]
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<O, X>) {}
}

/// Implements every method of [`Handler`]: each method calls the same method of all handlers in the iterator
/// `$handlers`. `$shared` is the same iterator over shared references.
macro_rules! forward {
    ($self:ident, $handlers:expr, $shared:expr) => {
        #[inline(always)]
        fn on_event(&mut $self, event: Event, model: &mut T, state: &mut State<O, X>) {
            $handlers.for_each(|handler| handler.on_event(event, model, state));
        }
        #[inline(always)]
        fn persist(&mut $self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
            $handlers.for_each(|handler| handler.persist(run, states));
        }
        #[inline(always)]
        fn check_start(&mut $self, model: &mut T, start: &mut StartCheck) {
            $handlers.for_each(|handler| handler.check_start(model, start));
        }
        #[inline(always)]
        fn perform(&mut $self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
            $handlers.fold(false, |saved, handler| handler.perform(model, state, record) | saved)
        }
        #[inline(always)]
        fn finish(&mut $self, model: &mut T) {
            $handlers.for_each(|handler| handler.finish(model));
        }
        #[inline(always)]
        fn rolls_back(&$self) -> bool {
            $shared.any(|handler| handler.rolls_back())
        }
        #[inline(always)]
        fn save_error(&$self) -> Option<EncodeError<ErrorKind>> {
            $shared.find_map(|handler| handler.save_error())
        }
        #[inline(always)]
        fn newest_checkpoint(&mut $self, below: Option<ResumePoint>) -> Result<Option<ResumePoint>, RestoreError> {
            $handlers.try_fold(None, |newest, handler| Ok(handler.newest_checkpoint(below)?.max(newest)))
        }
        #[inline(always)]
        fn damaged_checkpoints(&mut $self) -> u32 {
            $handlers.fold(0, |damaged, handler| handler.damaged_checkpoints().saturating_add(damaged))
        }
        #[inline(always)]
        fn wear(&mut $self) -> Wear {
            $handlers.fold(Wear::default(), |wear, handler| wear.plus(handler.wear()))
        }
        #[inline(always)]
        fn verify_checkpoint(
            &mut $self,
            point: ResumePoint,
            model: &mut T,
            record: &mut RunRecord<[u8]>,
        ) -> Result<bool, RestoreError> {
            $handlers.try_fold(false, |found, handler| Ok(found || handler.verify_checkpoint(point, model, record)?))
        }
        #[inline(always)]
        fn load_checkpoint(&mut $self, point: ResumePoint, model: &mut T) -> Result<bool, RestoreError> {
            $handlers.try_fold(false, |loaded, handler| Ok(loaded || handler.load_checkpoint(point, model)?))
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
            fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
                $(self.$index.persist(run, states);)+
            }
            #[inline(always)]
            fn check_start(&mut self, model: &mut T, start: &mut StartCheck) {
                $(self.$index.check_start(model, start);)+
            }
            #[inline(always)]
            fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
                let mut saved = false;
                $(saved |= self.$index.perform(model, state, record);)+
                saved
            }
            #[inline(always)]
            fn finish(&mut self, model: &mut T) {
                $(self.$index.finish(model);)+
            }
            #[inline(always)]
            fn rolls_back(&self) -> bool {
                false $(|| self.$index.rolls_back())+
            }
            #[inline(always)]
            fn save_error(&self) -> Option<EncodeError<ErrorKind>> {
                let mut error = None;
                $(error = error.or_else(|| self.$index.save_error());)+
                error
            }
            #[inline(always)]
            fn newest_checkpoint(&mut self, below: Option<ResumePoint>) -> Result<Option<ResumePoint>, RestoreError> {
                let mut newest = None;
                $(if let Some(point) = self.$index.newest_checkpoint(below)? && newest.is_none_or(|newest| point > newest) {
                    newest = Some(point);
                })+
                Ok(newest)
            }
            #[inline(always)]
            fn damaged_checkpoints(&mut self) -> u32 {
                let mut damaged = 0_u32;
                $(damaged = damaged.saturating_add(self.$index.damaged_checkpoints());)+
                damaged
            }
            #[inline(always)]
            fn wear(&mut self) -> Wear {
                let mut wear = Wear::default();
                $(wear = wear.plus(self.$index.wear());)+
                wear
            }
            #[inline(always)]
            fn verify_checkpoint(
                &mut self,
                point: ResumePoint,
                model: &mut T,
                record: &mut RunRecord<[u8]>,
            ) -> Result<bool, RestoreError> {
                $(if self.$index.verify_checkpoint(point, model, record)? { return Ok(true); })+
                Ok(false)
            }
            #[inline(always)]
            fn load_checkpoint(&mut self, point: ResumePoint, model: &mut T) -> Result<bool, RestoreError> {
                $(if self.$index.load_checkpoint(point, model)? { return Ok(true); })+
                Ok(false)
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
