//! The engine as a program that simply runs: nested loops, and an early return where a run ends. Rules: Ignite 0.5.5
//! with the design's changes. The machine under test is one that can stand after any event; this one cannot.

use crate::script::{Entry, Log, Request, Script};
use training_monitor::{Event, StopReason, UserEvent};

/// What the data is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, arbitrary::Arbitrary)]
pub enum Data {
    /// So many batches, whose number is known, over and over.
    Range(u8),
    /// So many batches, whose number shows when there are no more.
    Stream(u8),
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// In order.
    Done(StopReason),
    /// The step failed.
    Failed,
    /// There was no data.
    NoData,
    /// There was no more data.
    Exhausted,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Engine<'a> {
    /// What handlers and step ask for.
    pub script: &'a Script,
    /// At which iteration the step fails.
    pub fails_at: Option<u32>,
    /// As it is now.
    pub max_epochs: u32,
    /// As configured; 0 for that of the data.
    pub fixed_length: u32,
    /// As it is now; 0 while unknown.
    pub epoch_length: u32,
    /// The last epoch.
    pub epoch: u32,
    /// The last iteration.
    pub iteration: u32,
    /// Iterations done in the epoch.
    pub offset: u32,
    /// Everything that happened.
    pub log: Log,
    stop: Option<StopReason>,
    cut: bool,
    fired: Vec<UserEvent>,
    drawn: u32,
    ended_before: bool,
}

/// The run is over.
struct Over;

/// The epoch is over.
struct Cut;

impl<'a> Engine<'a> {
    /// Before its first run.
    pub fn new(script: &'a Script, fixed_length: u32, fails_at: Option<u32>) -> Self {
        Engine {
            script,
            fails_at,
            max_epochs: script.max_epochs,
            fixed_length,
            epoch_length: fixed_length,
            epoch: 0,
            iteration: 0,
            offset: 0,
            log: Log::new(),
            stop: None,
            cut: false,
            fired: Vec::new(),
            drawn: 0,
            ended_before: false,
        }
    }

    /// A run over `data`.
    pub fn run(&mut self, data: Data) -> End {
        if data == Data::Range(0) {
            return End::NoData;
        }
        // A cut run is followed by the next epoch, a full one by the first.
        if self.ended_before {
            if self.epoch >= self.max_epochs {
                (self.epoch, self.iteration, self.epoch_length) = (0, 0, self.fixed_length);
            }
            self.drawn = 0;
        }
        self.ended_before = true;
        if let (0, Data::Range(batches)) = (self.epoch_length, data) {
            self.epoch_length = u32::from(batches);
        }
        (self.stop, self.cut) = (None, false);
        let mut stream = 0;
        match self.epochs(data, &mut stream) {
            Ok(()) => (),
            Err(None) => drop(self.fire(Event::Terminate)),
            Err(Some(end)) => return end,
        }
        // Nothing that is asked for here changes anything but the reason that is told.
        let _ = self.fire(Event::Completed);
        End::Done(self.stop.unwrap_or(StopReason::MaxEpochs))
    }

    /// `Err(None)` where the run is terminated.
    fn epochs(&mut self, data: Data, stream: &mut u32) -> Result<(), Option<End>> {
        self.event(Event::Started)?;
        while self.epoch < self.max_epochs {
            self.epoch += 1;
            self.offset = 0;
            self.cut = false;
            self.event(Event::EpochStarted)?;
            let cut = self.cut || self.iterations(data, stream)?.is_err();
            self.cut = false;
            if cut {
                self.drawn = 0;
                self.event(Event::TerminateSingleEpoch)?;
            }
            self.event(Event::EpochCompleted)?;
        }
        Ok(())
    }

    fn iterations(&mut self, data: Data, stream: &mut u32) -> Result<Result<(), Cut>, Option<End>> {
        while self.epoch_length == 0 || self.offset < self.epoch_length {
            if self.event_in_epoch(Event::GetBatchStarted)?.is_err() {
                return Ok(Err(Cut));
            }
            let batch = match data {
                Data::Range(batches) => Some(self.drawn % u32::from(batches)),
                Data::Stream(batches) => Some(*stream).filter(|next| *next < u32::from(batches)),
            };
            let Some(batch) = batch else {
                if self.epoch_length == 0 && self.offset > 0 {
                    self.epoch_length = self.offset;
                    return Ok(Ok(()));
                }
                return Err(Some(if self.iteration == 0 { End::NoData } else { End::Exhausted }));
            };
            *stream += 1;
            if self.event_in_epoch(Event::GetBatchCompleted)?.is_err() {
                return Ok(Err(Cut));
            }
            self.iteration += 1;
            if self.event_in_epoch(Event::IterationStarted)?.is_err() {
                return Ok(Err(Cut));
            }
            self.log.push(Entry { event: None, batch, at: (self.epoch, self.iteration, self.offset) });
            self.ask(None, self.iteration);
            if self.fails_at == Some(self.iteration) {
                self.stop = Some(StopReason::StepFailed);
                let _ = self.fire(Event::ExceptionRaised);
                return Err(Some(End::Failed));
            }
            self.offset += 1;
            self.drawn += 1;
            if self.event_in_epoch(Event::IterationCompleted)?.is_err() {
                return Ok(Err(Cut));
            }
        }
        Ok(Ok(()))
    }

    /// Fires an event, after which the run may be over.
    fn event(&mut self, event: Event) -> Result<(), Option<End>> {
        self.fire(event).map_err(|Over| None)
    }

    /// Fires an event, after which the epoch may be over, too.
    fn event_in_epoch(&mut self, event: Event) -> Result<Result<(), Cut>, Option<End>> {
        self.event(event)?;
        Ok(if self.cut { Err(Cut) } else { Ok(()) })
    }

    fn fire(&mut self, event: Event) -> Result<(), Over> {
        self.tell(event);
        while !self.fired.is_empty() {
            let next = self.fired.remove(0);
            self.tell(Event::User(next));
        }
        if self.stop.is_some() { Err(Over) } else { Ok(()) }
    }

    fn tell(&mut self, event: Event) {
        self.log.push(Entry { event: Some(event), batch: 0, at: (self.epoch, self.iteration, self.offset) });
        let value = match event {
            Event::GetBatchStarted | Event::GetBatchCompleted => self.iteration,
            Event::IterationStarted | Event::IterationCompleted => self.iteration,
            Event::User(event) => event.value,
            _ => self.epoch,
        };
        self.ask(Some(event), value);
    }

    fn ask(&mut self, on: Option<Event>, value: u32) {
        let script = self.script;
        for action in script.actions.iter().filter(|action| action.on == on && action.at == value) {
            match action.request {
                Request::Terminate => self.stop = self.stop.or(Some(StopReason::User(1))),
                Request::TerminateEpoch => self.cut = true,
                Request::Fire(event) => self.fired.push(event),
                Request::MaxEpochs(epochs) => self.max_epochs = epochs,
            }
        }
    }
}
