//! A progress line in the terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use std::fmt::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};
use training_monitor::{Event, Handler, Outcome, State, StopReason};

/// The minimum time between two redraws of the progress line.
const REDRAW_INTERVAL: Duration = Duration::from_millis(50);

/// A progress line in the terminal for one training run. The line shows the epoch, the batch, the loss, a score, the
/// time per batch and the remaining time. All clones of a `Progress` update the same line.
///
/// The progress bar and the remaining time refer to the whole run. The line is redrawn at most twenty times per second
/// on standard error. `Progress` prints nothing if standard error is no terminal.
///
/// ```
/// use training_monitor::Engine;
/// use training_monitor_std::Progress;
///
/// let progress = Progress::new();
/// let mut handlers = (
///     progress.attach(|s| s.output.unwrap_or(f32::NAN)),
///     // Other handlers can follow.
/// );
/// let outcome = Engine::new(2).run(&mut (), 0..50, &mut handlers, |_, batch, _| 1.0 / (1.0 + batch as f32))?;
/// assert_eq!(progress.text(), "epoch 2/2, batch 50/50, loss 0.02000");
///
/// // A custom training loop updates the line itself.
/// let progress = Progress::new();
/// progress.start(2, Some(50));
/// progress.set_batch(1, 7, 7, 0.25);
/// progress.set_score("accuracy", 0.875);
/// assert_eq!(progress.text(), "epoch 1/2, batch 7/50, loss 0.25000, accuracy 0.8750");
/// progress.finish(Some(&outcome));
/// # Ok::<(), training_monitor::RunError>(())
/// ```
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
    /// The time and the iteration of the first reported batch. The time per batch is measured from this point, because
    /// a resumed run does not begin at iteration 1.
    first_batch: Option<(Instant, u32)>,
    last_redraw: Option<Instant>,
}

impl Progress {
    /// Creates a progress line on standard error. The line is not printed if standard error is no terminal.
    #[must_use]
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // `TEMPLATE` is always valid, so the default bar is never used.
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━╸─"));
        Progress { bar, status: Rc::default() }
    }

    /// Sets the number of epochs of the run and the number of batches per epoch. `batches` is `None` if the number of
    /// batches is unknown.
    pub fn start(&self, epochs: u32, batches: Option<u32>) {
        let mut status = self.status.borrow_mut();
        (status.epochs, status.batches) = (epochs, batches);
        if let Some(batches) = batches {
            self.bar.set_length(u64::from(epochs) * u64::from(batches));
        }
    }

    /// Reports a finished batch and its loss. `batch` is the number of the batch within the epoch, and `iteration` is
    /// its number within the run. Both are counted from 1.
    pub fn set_batch(&self, epoch: u32, batch: u32, iteration: u32, loss: f32) {
        let mut status = self.status.borrow_mut();
        (status.epoch, status.batch, status.iteration, status.loss) = (epoch, batch, iteration, Some(loss));
        let now = Instant::now();
        let (start, first_iteration) = *status.first_batch.get_or_insert((now, iteration));
        let is_recent = |redraw: Instant| now.duration_since(redraw) < REDRAW_INTERVAL;
        if self.bar.is_hidden() || status.last_redraw.is_some_and(is_recent) {
            return;
        }
        status.last_redraw = Some(now);
        let mut text = status.text();
        let finished = iteration.saturating_sub(first_iteration);
        if finished > 0 {
            let per_batch = now.duration_since(start) / finished;
            // Writing to a `String` cannot fail.
            let _ = write!(text, ", {per_batch:.1?} per batch");
            if let Some(remaining) = self.bar.length().and_then(|length| length.checked_sub(u64::from(iteration))) {
                let remaining = Duration::from_secs_f64(per_batch.as_secs_f64() * remaining as f64);
                let _ = write!(text, ", {} remaining", indicatif::HumanDuration(remaining));
            }
        }
        self.bar.set_position(u64::from(iteration));
        self.bar.set_message(text);
    }

    /// Sets the name and the value of the score. The line shows this score until the next call of `set_score`.
    pub fn set_score(&self, name: &str, value: f64) {
        self.status.borrow_mut().score = Some((name.to_owned(), value));
    }

    /// Prints `line` above the progress bar. Prints nothing if standard error is no terminal.
    pub fn println(&self, line: &str) {
        self.bar.println(line);
    }

    /// Ends the progress line, which stays visible in the terminal. If the run stopped before its last epoch, the line
    /// also shows the stop reason from `outcome`.
    pub fn finish(&self, outcome: Option<&Outcome>) {
        let mut text = self.text();
        if let Some(reason) = outcome.map(|outcome| outcome.reason).filter(|reason| *reason != StopReason::MaxEpochs) {
            let _ = write!(text, ", stopped: {}", variant_to_words(&format!("{reason:?}")));
        }
        self.bar.set_position(u64::from(self.status.borrow().iteration));
        self.bar.abandon_with_message(text);
    }

    /// Returns the current text of the progress line, without the time per batch and the remaining time.
    #[must_use]
    pub fn text(&self) -> String {
        self.status.borrow().text()
    }

    /// Creates an engine handler that updates the progress line after each iteration. The closure `loss` reads the loss
    /// from the state of the engine.
    pub fn attach<O, X, L: FnMut(&State<O, X>) -> f32>(&self, loss: L) -> ProgressHandler<L> {
        ProgressHandler { progress: self.clone(), loss }
    }
}

const TEMPLATE: &str = "{bar:20.cyan/blue} {percent:>3}%  {msg}";

/// Converts the name of an enum variant to words: `EarlyStopping` becomes "early stopping".
pub(crate) fn variant_to_words(variant: &str) -> String {
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
        let total = |count: Option<u32>| count.map_or(String::new(), |count| format!("/{count}"));
        let epochs = total((self.epochs > 0).then_some(self.epochs));
        let mut text = format!("epoch {}{epochs}, batch {}{}", self.epoch, self.batch, total(self.batches));
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

/// An engine handler that updates a progress line after each iteration. Use [`Progress::attach`] to create a handler.
#[derive(Clone, Debug)]
pub struct ProgressHandler<L> {
    progress: Progress,
    loss: L,
}

impl<T: ?Sized, O, X, L: FnMut(&State<O, X>) -> f32> Handler<T, O, X> for ProgressHandler<L> {
    #[inline]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        match event {
            // Call `start` here instead of at the event `Started`, because a resumed run does not fire `Started`.
            Event::IterationCompleted => {
                let is_current =
                    |status: &Status| (status.epochs, status.batches) == (state.max_epochs(), state.epoch_length());
                if !is_current(&self.progress.status.borrow()) {
                    self.progress.start(state.max_epochs(), state.epoch_length());
                }
                let loss = (self.loss)(state);
                self.progress.set_batch(state.epoch(), state.offset(), state.iteration(), loss);
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
