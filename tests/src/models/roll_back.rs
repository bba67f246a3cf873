//! A model of a run that is rolled back: it keeps every checkpoint as a copy of the whole run.

use training_monitor::{Event, StopReason, UserEvent};

/// The user-defined event that the program fires.
pub const USER_EVENT: Event = Event::User(UserEvent { id: 1, value: 0 });

/// The weights of the run: a value that depends on all steps, and the number of changes by roll-backs.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[allow(missing_docs, reason = "the type describes the fields")]
pub struct Net {
    pub weight: f32,
    pub level: f32,
}

impl Net {
    /// Performs a training step.
    pub fn step(&mut self, batch: u32) {
        self.weight = self.weight * -0.75 + batch as f32 + self.level;
    }

    /// Performs the change after a roll-back.
    pub fn change(&mut self) {
        self.weight *= 0.5;
        self.level += 1.0;
    }
}

/// The moment of a request: at an event, or inside the step function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the type describes the variants")]
pub enum Moment {
    Event(Event),
    Step,
}

/// A request to terminate the run. It depends only on what a checkpoint contains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the type describes the fields")]
pub struct Request {
    pub moment: Moment,
    pub iteration: u32,
    /// The request is made while the level is less than this number.
    pub below_level: u32,
    pub reason: StopReason,
}

impl Request {
    /// Returns whether the request is made.
    pub fn applies(&self, moment: Moment, iteration: u32, net: &Net) -> bool {
        self.moment == moment && self.iteration == iteration && net.level < self.below_level as f32
    }
}

/// The settings of a run.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the type describes the fields")]
pub struct Settings {
    pub max_epochs: u32,
    pub epoch_length: u32,
    pub batches: u32,
    /// The event at which the checkpoint handler is called, and the number of calls per save.
    pub save_at: Event,
    pub interval: u32,
    /// The event at which the program fires [`USER_EVENT`].
    pub fires_at: Option<Event>,
    pub max_roll_backs: u32,
    pub requests: Vec<Request>,
}

/// The run at a moment. A checkpoint is a copy of it.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the type describes the fields")]
pub struct Run {
    /// The last event.
    pub phase: Option<Event>,
    pub epoch: u32,
    pub iteration: u32,
    pub offset: u32,
    pub data_offset: u32,
    pub net: Net,
    pub calls: u32,
    pub count: u32,
    pub stop: Option<StopReason>,
}

/// An entry of the log: an event, its iteration, and the weights before the handlers of the event change them.
pub type Entry = (Event, u32, Net);

/// The model of a whole run.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the type describes the fields")]
pub struct RollBack {
    pub settings: Settings,
    pub run: Run,
    pub checkpoints: Vec<Run>,
    /// Whether a roll-back was necessary but no checkpoint existed.
    pub has_given_up: bool,
    /// A user-defined event and a save that follow the next event, because a roll-back failed.
    pub postponed: (bool, bool),
    pub log: Vec<Entry>,
}

impl RollBack {
    /// Runs from the first to the last event.
    pub fn run(settings: Settings) -> Self {
        let mut model = RollBack {
            settings,
            run: Run::default(),
            checkpoints: Vec::new(),
            has_given_up: false,
            postponed: (false, false),
            log: Vec::new(),
        };
        while let Some(event) = model.next_event() {
            model.fire(event);
        }
        model
    }

    /// Changes the counters, performs the step, and returns the next event.
    fn next_event(&mut self) -> Option<Event> {
        let run = &mut self.run;
        let is_ending = matches!(run.phase, Some(Event::Terminate | Event::Completed));
        if run.stop.is_some() && !is_ending {
            return Some(Event::Terminate);
        }
        Some(match run.phase {
            None => Event::Started,
            Some(Event::Started | Event::EpochCompleted) if run.epoch >= self.settings.max_epochs => Event::Completed,
            Some(Event::Started | Event::EpochCompleted) => {
                run.epoch += 1;
                run.offset = 0;
                Event::EpochStarted
            }
            Some(Event::GetBatchStarted) => Event::GetBatchCompleted,
            Some(Event::GetBatchCompleted) => {
                run.iteration += 1;
                Event::IterationStarted
            }
            Some(Event::IterationStarted) => {
                run.data_offset %= self.settings.batches;
                run.net.step(run.data_offset);
                self.request(Moment::Step);
                self.run.offset += 1;
                self.run.data_offset += 1;
                Event::IterationCompleted
            }
            Some(Event::Terminate) => Event::Completed,
            Some(Event::Completed) => return None,
            Some(_) if run.offset < self.settings.epoch_length => Event::GetBatchStarted,
            Some(_) => Event::EpochCompleted,
        })
    }

    fn request(&mut self, moment: Moment) {
        let run = &mut self.run;
        let request = self.settings.requests.iter().find(|request| request.applies(moment, run.iteration, &run.net));
        run.stop = run.stop.or(request.map(|request| request.reason));
    }

    /// Passes an event to the handlers, then the user-defined event that they fire, and then saves.
    fn fire(&mut self, event: Event) {
        self.run.phase = Some(event);
        let (mut fires, mut saves) = core::mem::take(&mut self.postponed);
        fires |= Some(event) == self.settings.fires_at;
        saves |= self.handle(event);
        if self.must_roll_back(event) {
            self.roll_back((fires, saves));
            return;
        }
        if fires {
            saves |= self.handle(USER_EVENT);
            if self.must_roll_back(event) {
                self.roll_back((false, saves));
                return;
            }
        }
        if saves {
            self.checkpoints.push(self.run.clone());
            self.log.push((Event::SavedCheckpoint, self.run.iteration, self.run.net));
        }
    }

    /// Passes an event to the handlers. Returns whether a checkpoint is saved.
    fn handle(&mut self, event: Event) -> bool {
        self.log.push((event, self.run.iteration, self.run.net));
        self.request(Moment::Event(event));
        if event != self.settings.save_at {
            return false;
        }
        self.run.calls += 1;
        self.run.calls.is_multiple_of(self.settings.interval)
    }

    /// Returns whether the run is rolled back after an event.
    fn must_roll_back(&self, event: Event) -> bool {
        let is_bad = matches!(self.run.stop, Some(StopReason::NonFinite | StopReason::Diverged));
        let is_allowed = !self.has_given_up && self.run.count < self.settings.max_roll_backs;
        is_bad && is_allowed && event != Event::Completed
    }

    fn roll_back(&mut self, postponed: (bool, bool)) {
        let Some(checkpoint) = self.checkpoints.last() else {
            self.has_given_up = true;
            self.postponed = postponed;
            return;
        };
        let count = self.run.count + 1;
        self.run = Run { count, ..checkpoint.clone() };
        self.log.push((Event::RolledBack, self.run.iteration, self.run.net));
        for _ in checkpoint.count..count {
            self.run.net.change();
        }
    }
}
