//! A line in the terminal that says how far a run is: epoch, batch, loss, score, time a batch, time to go.
//!
//! The bar is that of the whole run, so the time to go is that of the run. It is redrawn at most twenty times a second,
//! goes to standard error, and is silent where that is no terminal. It never changes what a run does.
//!
//! ```
//! use training_monitor::{Engine, State};
//! use training_monitor_std::Progress;
//!
//! let progress = Progress::new();
//! let mut handlers = (
//!     progress.attach(|s: &State<f32>| s.output.unwrap_or(f32::NAN)),
//!     // … and whatever else watches the run.
//! );
//! let outcome = Engine::new(2).run(&mut (), 0..50, &mut handlers, |_, batch, _| 1.0 / (1.0 + batch as f32))?;
//! assert_eq!(progress.text(), "epoch 2/2, batch 50/50, loss 0.02000");
//!
//! // Or by hand, in a loop of one's own.
//! let progress = Progress::new();
//! progress.start(2, Some(50));
//! progress.batch(1, 7, 7, 0.25);
//! progress.score("accuracy", 0.875);
//! assert_eq!(progress.text(), "epoch 1/2, batch 7/50, loss 0.25000, accuracy 0.8750");
//! progress.finish(Some(&outcome));
//! # Ok::<(), training_monitor::RunError>(())
//! ```

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use std::fmt::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};
use training_monitor::{Event, Handler, Outcome, State, StopReason};

/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(50);

/// The progress of one run. Clones are of the same line.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    status: Rc<RefCell<Status>>,
}

#[derive(Default, Debug)]
struct Status {
    epochs: u32,
    epoch: u32,
    batches: Option<u32>,
    batch: u32,
    iteration: u32,
    loss: Option<f32>,
    score: Option<(String, f64)>,
    /// When the first batch was told of, and its iteration: a run that was resumed did not do the ones before.
    began: Option<(Instant, u32)>,
    drawn: Option<Instant>,
}

impl Progress {
    /// On standard error, if that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // A template that is wrong is found by the test; the plain bar would do, too.
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━╸─"));
        Progress { bar, status: Rc::default() }
    }

    /// The run has so many epochs of so many batches, if that is known.
    pub fn start(&self, epochs: u32, batches: Option<u32>) {
        let mut status = self.status.borrow_mut();
        (status.epochs, status.batches) = (epochs, batches);
        if let Some(batches) = batches {
            self.bar.set_length(u64::from(epochs) * u64::from(batches));
        }
    }

    /// A batch is done: number `batch` of its epoch, from 1, and number `iteration` of the run.
    pub fn batch(&self, epoch: u32, batch: u32, iteration: u32, loss: f32) {
        let mut status = self.status.borrow_mut();
        (status.epoch, status.batch, status.iteration, status.loss) = (epoch, batch, iteration, Some(loss));
        let now = Instant::now();
        let (began, first) = *status.began.get_or_insert((now, iteration));
        if self.bar.is_hidden() || status.drawn.is_some_and(|drawn| now.duration_since(drawn) < PAUSE) {
            return;
        }
        status.drawn = Some(now);
        let mut text = status.text();
        let done = iteration.saturating_sub(first);
        if done > 0 {
            let each = now.duration_since(began) / done;
            // Cannot fail: a String takes everything.
            let _ = write!(text, ", {each:.1?} a batch");
            if let Some(left) = self.bar.length().and_then(|all| all.checked_sub(u64::from(iteration))) {
                let left = Duration::from_secs_f64(each.as_secs_f64() * left as f64);
                let _ = write!(text, ", {} to go", indicatif::HumanDuration(left));
            }
        }
        self.bar.set_position(u64::from(iteration));
        self.bar.set_message(text);
    }

    /// A score is known; it stays in the line until the next.
    pub fn score(&self, name: &str, value: f64) {
        self.status.borrow_mut().score = Some((name.to_owned(), value));
    }

    /// Writes a line above the bar; without a terminal, nowhere.
    pub fn say(&self, line: &str) {
        self.bar.println(line);
    }

    /// The run is over: the line stays as it is, and says why it ended early, if it did.
    pub fn finish(&self, outcome: Option<&Outcome>) {
        let mut text = self.text();
        if let Some(reason) = outcome.map(|outcome| outcome.reason).filter(|reason| *reason != StopReason::MaxEpochs) {
            let _ = write!(text, ", stopped: {}", words(&format!("{reason:?}")));
        }
        self.bar.set_position(u64::from(self.status.borrow().iteration));
        self.bar.abandon_with_message(text);
    }

    /// What the line says now, but for times.
    #[must_use]
    pub fn text(&self) -> String {
        self.status.borrow().text()
    }

    /// A handler that reads the loss from the state after each iteration.
    pub fn attach<L>(&self, loss: L) -> ProgressHandler<L> {
        ProgressHandler { progress: self.clone(), loss }
    }
}

const TEMPLATE: &str = "{bar:20.cyan/blue} {percent:>3}%  {msg}";

/// `EarlyStopping` as "early stopping".
pub(crate) fn words(variant: &str) -> String {
    let mut words = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

impl Status {
    fn text(&self) -> String {
        let of = |all: Option<u32>| all.map_or(String::new(), |all| format!("/{all}"));
        let epochs = of((self.epochs > 0).then_some(self.epochs));
        let mut text = format!("epoch {}{epochs}, batch {}{}", self.epoch, self.batch, of(self.batches));
        if let Some(loss) = self.loss {
            let _ = write!(text, ", loss {loss:.5}");
        }
        if let Some((name, value)) = &self.score {
            let _ = write!(text, ", {name} {value:.4}");
        }
        text
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.text()).finish()
    }
}

/// A [`Progress`] that watches an engine.
#[derive(Clone, Debug)]
pub struct ProgressHandler<L> {
    progress: Progress,
    loss: L,
}

impl<T: ?Sized, O, X, L: FnMut(&State<O, X>) -> f32> Handler<T, O, X> for ProgressHandler<L> {
    #[inline]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        match event {
            // Not `Started`: a run that goes on does not fire it.
            Event::IterationCompleted => {
                let known =
                    |status: &Status| (status.epochs, status.batches) == (state.max_epochs(), state.epoch_length());
                if !known(&self.progress.status.borrow()) {
                    self.progress.start(state.max_epochs(), state.epoch_length());
                }
                let loss = (self.loss)(state);
                self.progress.batch(state.epoch(), state.offset(), state.iteration(), loss);
            }
            Event::Completed => {
                let reason = state.stop_reason();
                let outcome =
                    reason.map(|reason| Outcome { reason, epoch: state.epoch(), iteration: state.iteration() });
                self.progress.finish(outcome.as_ref());
            }
            _ => (),
        }
    }
}
