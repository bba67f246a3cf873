//! A progress line in the terminal.

mod line;
mod status;
#[cfg(test)]
mod tests;

use console::Term;
use line::StatusLine;
use status::{Status, printable};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};
use training_monitor::{Event, Handler, Outcome, State, StopReason};

/// The minimum time between two redraws of the progress line.
const REDRAW_INTERVAL: Duration = Duration::from_millis(50);

/// A progress line in the terminal for one training run. The line shows the epoch, the batch, the loss, a score, the
/// time per batch and the remaining time. All clones of a `Progress` update the same line.
///
/// The progress bar and the remaining time refer to the whole run. The remaining time includes evaluations and saves;
/// the time per batch does not. The line fits the current width of the terminal: a narrow one shows fewer values. It is
/// redrawn at most twenty times per second on standard error. `Progress` prints nothing if standard error is no terminal.
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
/// progress.begin_batch();
/// // Train with the batch here.
/// progress.set_batch(1, 7, 7, 0.25);
/// progress.set_score("accuracy", 0.875);
/// assert_eq!(progress.text(), "epoch 1/2, batch 7/50, loss 0.25000, accuracy 0.8750");
/// progress.finish(Some(&outcome));
/// # Ok::<(), training_monitor::RunError>(())
/// ```
#[derive(Clone)]
pub struct Progress {
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    status: Status,
    /// `None` if standard error is no terminal.
    line: Option<StatusLine>,
    last_redraw: Option<Instant>,
    is_finished: bool,
}

impl Progress {
    /// Creates a progress line on standard error. The line is not printed if standard error is no terminal.
    #[must_use]
    pub fn new() -> Self {
        let terminal = Term::stderr();
        let is_visible = terminal.is_term() && !console::is_dumb() && understands_sequences(&terminal);
        let width = {
            let terminal = terminal.clone();
            move || terminal.size_checked().map_or(80, |(_, columns)| usize::from(columns))
        };
        Self::with_line(is_visible.then(|| StatusLine::new(Box::new(terminal), Box::new(width))))
    }

    fn with_line(line: Option<StatusLine>) -> Self {
        let shared = Shared { status: Status::default(), line, last_redraw: None, is_finished: false };
        Progress { shared: Rc::new(RefCell::new(shared)) }
    }

    /// Sets the number of epochs of the run and the number of batches per epoch. `batches` is `None` if the number of
    /// batches is unknown.
    pub fn start(&self, epochs: u32, batches: Option<u32>) {
        let status = &mut self.shared.borrow_mut().status;
        (status.epochs, status.batches) = (epochs, batches);
    }

    /// A batch starts. The time from this call to [`set_batch`](Self::set_batch) is the duration of the batch. In a
    /// custom training loop without this call, the line shows the time from one batch to the next, with saves.
    pub fn begin_batch(&self) {
        let mut shared = self.shared.borrow_mut();
        if shared.line.is_some() {
            shared.status.begin_batch(Instant::now());
        }
    }

    /// Reports a finished batch and its loss. `batch` is the number of the batch within the epoch, and `iteration` is
    /// its number within the run. Both are counted from 1.
    pub fn set_batch(&self, epoch: u32, batch: u32, iteration: u32, loss: f32) {
        self.shared.borrow_mut().set_batch(Instant::now(), (epoch, batch, iteration), loss);
    }

    /// Sets the name of the loss. By default, it is `loss`. Use another name if the line shows another number, for
    /// example a running average.
    pub fn set_loss_name(&self, name: &str) {
        self.shared.borrow_mut().status.loss_name = printable(name);
    }

    /// Sets the name and the value of the score. The line shows this score until the next call of `set_score`.
    pub fn set_score(&self, name: &str, value: f64) {
        self.shared.borrow_mut().status.score = Some((printable(name), value));
    }

    /// Prints `line` above the progress bar. Prints nothing if standard error is no terminal.
    pub fn println(&self, line: &str) {
        if let Some(status_line) = &mut self.shared.borrow_mut().line {
            status_line.print_above(line);
        }
    }

    /// Ends the progress line, which stays visible in the terminal. If the run stopped before its last epoch, the line
    /// also shows the stop reason from `outcome`.
    pub fn finish(&self, outcome: Option<&Outcome>) {
        let shared = &mut *self.shared.borrow_mut();
        let Some(line) = shared.line.as_mut().filter(|_| !shared.is_finished) else { return };
        shared.is_finished = true;
        let reason = outcome.map(|outcome| outcome.reason).filter(|reason| *reason != StopReason::MaxEpochs);
        let text = shared.status.line(line.max_width(), reason);
        line.finish(&text);
    }

    /// Returns the current text of the progress line, without the time per batch and the remaining time.
    #[must_use]
    pub fn text(&self) -> String {
        self.shared.borrow().status.text()
    }

    /// Creates an engine handler that updates the progress line after each iteration. The closure `loss` reads the loss
    /// from the state of the engine.
    pub fn attach<O, X, L: FnMut(&State<O, X>) -> f32>(&self, loss: L) -> ProgressHandler<L> {
        ProgressHandler { progress: self.clone(), loss }
    }
}

impl Shared {
    fn set_batch(&mut self, now: Instant, (epoch, batch, iteration): (u32, u32, u32), loss: f32) {
        let status = &mut self.status;
        (status.epoch, status.batch, status.iteration, status.loss) = (epoch, batch, iteration, Some(loss));
        let Some(line) = &mut self.line else { return };
        status.complete_batch(now);
        self.is_finished = false;
        let is_recent = |redraw: Instant| now.saturating_duration_since(redraw) < REDRAW_INTERVAL;
        if !self.last_redraw.is_some_and(is_recent) {
            self.last_redraw = Some(now);
            let text = status.line(line.max_width(), None);
            line.draw(text);
        }
    }
}

/// Returns whether the terminal understands control sequences. All do except an old console of Windows.
fn understands_sequences(terminal: &Term) -> bool {
    // On Windows, this call also enables the sequences.
    !cfg!(windows) || terminal.features().colors_supported()
}

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
            Event::IterationStarted => self.progress.begin_batch(),
            // Call `start` here instead of at the event `Started`, because a resumed run does not fire `Started`.
            Event::IterationCompleted => {
                let is_current =
                    |status: &Status| (status.epochs, status.batches) == (state.max_epochs(), state.epoch_length());
                if !is_current(&self.progress.shared.borrow().status) {
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
