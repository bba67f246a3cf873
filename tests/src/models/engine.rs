//! A model of the engine as a plain program: nested loops that return early if the run stops. It follows Ignite 0.5.5
//! with the documented differences of this library. Unlike the engine, the model cannot be stopped after an event and
//! resumed.

use crate::script::{Entry, Log, Request, Script};
use training_monitor::{Event, StopReason, UserEvent};

/// The data of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, arbitrary::Arbitrary)]
pub enum Data {
    /// The given number of batches, repeated without end. The engine knows the number.
    Range(u8),
    /// An iterator over the given number of batches. The engine finds out the number when the iterator ends.
    Iterator(u8),
}

/// The result of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunResult {
    /// The run completed or was stopped by a request.
    Done(StopReason),
    /// The step function failed.
    StepFailed,
    /// The data was empty.
    NoData,
    /// The data ended before the run had executed all its iterations.
    DataExhausted,
}

/// The model of the engine: a second, simple implementation that the tests compare with the engine.
#[derive(Clone, Debug)]
pub struct Engine<'a> {
    /// The requests of handlers and step function.
    pub script: &'a Script,
    /// The iteration in which the step function fails.
    pub fails_at: Option<u32>,
    /// The current maximum number of epochs.
    pub max_epochs: u32,
    /// The configured epoch length; 0 if the data determines it.
    pub configured_length: u32,
    /// The current epoch length; 0 if it is unknown.
    pub epoch_length: u32,
    /// The number of the current or last epoch; 0 before the first epoch.
    pub epoch: u32,
    /// The number of the current or last iteration, counted over all epochs; 0 before the first iteration.
    pub iteration: u32,
    /// The number of completed iterations of the epoch.
    pub offset: u32,
    /// All events and calls of the step function.
    pub log: Log,
    stop: Option<StopReason>,
    is_epoch_terminated: bool,
    queue: Vec<UserEvent>,
    data_offset: u32,
    has_run: bool,
}

/// The error value of a function, if the run must stop.
struct RunStopped;

/// The error value of a function, if the current epoch must end early.
struct EpochTerminated;

impl<'a> Engine<'a> {
    /// Creates the model of an engine that has not run yet.
    pub fn new(script: &'a Script, configured_length: u32, fails_at: Option<u32>) -> Self {
        Engine {
            script,
            fails_at,
            max_epochs: script.max_epochs,
            configured_length,
            epoch_length: configured_length,
            epoch: 0,
            iteration: 0,
            offset: 0,
            log: Log::new(),
            stop: None,
            is_epoch_terminated: false,
            queue: Vec::new(),
            data_offset: 0,
            has_run: false,
        }
    }

    /// Runs the model of the engine over `data`.
    pub fn run(&mut self, data: Data) -> RunResult {
        if data == Data::Range(0) {
            return RunResult::NoData;
        }
        // After a completed run, the next run starts with the first epoch. After a stopped run, the next run starts
        // with the epoch that follows the stopped one.
        if self.has_run {
            if self.epoch >= self.max_epochs {
                (self.epoch, self.iteration, self.epoch_length) = (0, 0, self.configured_length);
            }
            (self.offset, self.data_offset) = (0, 0);
        }
        self.has_run = true;
        if let (0, Data::Range(batches)) = (self.epoch_length, data) {
            self.epoch_length = u32::from(batches);
        }
        (self.stop, self.is_epoch_terminated) = (None, false);
        let mut iterator = 0;
        match self.run_epochs(data, &mut iterator) {
            Ok(()) => (),
            Err(None) => drop(self.fire(Event::Terminate)),
            Err(Some(result)) => return result,
        }
        // A handler can request a stop at the event Completed. The run has already ended, so this changes only the stop
        // reason.
        let _ = self.fire(Event::Completed);
        RunResult::Done(self.stop.unwrap_or(StopReason::MaxEpochs))
    }

    /// Runs the remaining epochs. Returns `Err(None)` if a request stopped the run, and `Err` with a result if the run
    /// failed.
    fn run_epochs(&mut self, data: Data, iterator: &mut u32) -> Result<(), Option<RunResult>> {
        self.fire_between_epochs(Event::Started)?;
        while self.epoch < self.max_epochs {
            self.epoch += 1;
            self.offset = 0;
            self.is_epoch_terminated = false;
            self.fire_between_epochs(Event::EpochStarted)?;
            let is_terminated = self.is_epoch_terminated || self.run_iterations(data, iterator)?.is_err();
            self.is_epoch_terminated = false;
            if is_terminated {
                self.data_offset = 0;
                self.fire_between_epochs(Event::TerminateSingleEpoch)?;
            }
            self.fire_between_epochs(Event::EpochCompleted)?;
        }
        Ok(())
    }

    fn run_iterations(
        &mut self,
        data: Data,
        iterator: &mut u32,
    ) -> Result<Result<(), EpochTerminated>, Option<RunResult>> {
        while self.epoch_length == 0 || self.offset < self.epoch_length {
            if self.fire_in_epoch(Event::GetBatchStarted)?.is_err() {
                return Ok(Err(EpochTerminated));
            }
            let batch = match data {
                Data::Range(batches) => Some(self.data_offset % u32::from(batches)),
                Data::Iterator(batches) => Some(*iterator).filter(|next| *next < u32::from(batches)),
            };
            let Some(batch) = batch else {
                if self.epoch_length == 0 && self.offset > 0 {
                    self.epoch_length = self.offset;
                    return Ok(Ok(()));
                }
                return Err(Some(if self.iteration == 0 { RunResult::NoData } else { RunResult::DataExhausted }));
            };
            *iterator += 1;
            if self.fire_in_epoch(Event::GetBatchCompleted)?.is_err() {
                return Ok(Err(EpochTerminated));
            }
            self.iteration += 1;
            if self.fire_in_epoch(Event::IterationStarted)?.is_err() {
                return Ok(Err(EpochTerminated));
            }
            self.log.push(Entry { event: None, batch, counters: (self.epoch, self.iteration, self.offset) });
            self.make_requests(None, self.iteration);
            if self.fails_at == Some(self.iteration) {
                self.stop = Some(StopReason::StepFailed);
                let _ = self.fire(Event::ExceptionRaised);
                return Err(Some(RunResult::StepFailed));
            }
            self.offset += 1;
            self.data_offset += 1;
            if self.fire_in_epoch(Event::IterationCompleted)?.is_err() {
                return Ok(Err(EpochTerminated));
            }
        }
        Ok(Ok(()))
    }

    /// Fires an event after which the run may stop.
    fn fire_between_epochs(&mut self, event: Event) -> Result<(), Option<RunResult>> {
        self.fire(event).map_err(|RunStopped| None)
    }

    /// Fires an event after which the run may stop or the epoch may be terminated.
    fn fire_in_epoch(&mut self, event: Event) -> Result<Result<(), EpochTerminated>, Option<RunResult>> {
        self.fire_between_epochs(event)?;
        Ok(if self.is_epoch_terminated { Err(EpochTerminated) } else { Ok(()) })
    }

    fn fire(&mut self, event: Event) -> Result<(), RunStopped> {
        self.dispatch(event);
        while !self.queue.is_empty() {
            let next = self.queue.remove(0);
            self.dispatch(Event::User(next));
        }
        if self.stop.is_some() { Err(RunStopped) } else { Ok(()) }
    }

    fn dispatch(&mut self, event: Event) {
        self.log.push(Entry { event: Some(event), batch: 0, counters: (self.epoch, self.iteration, self.offset) });
        let value = match event {
            Event::GetBatchStarted | Event::GetBatchCompleted => self.iteration,
            Event::IterationStarted | Event::IterationCompleted => self.iteration,
            Event::User(event) => event.value,
            _ => self.epoch,
        };
        self.make_requests(Some(event), value);
    }

    fn make_requests(&mut self, event: Option<Event>, value: u32) {
        let script = self.script;
        for action in script.actions.iter().filter(|action| action.event == event && action.value == value) {
            match action.request {
                Request::Terminate => self.stop = self.stop.or(Some(StopReason::User(1))),
                Request::TerminateEpoch => self.is_epoch_terminated = true,
                Request::Fire(event) => self.queue.push(event),
                Request::MaxEpochs(epochs) => self.max_epochs = epochs,
            }
        }
    }
}
