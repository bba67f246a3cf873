//! The live view in the terminal. It shows charts of the loss and the metrics on the left, facts on the right, and
//! messages below.
//!
//! The library ratatui restores the terminal at the end, even after a panic.

use super::checkpoints::{CheckpointStatus, CheckpointWatcher};
use super::feed::{Feed, FeedEvent};
use super::live_terminal::{LiveTerminal, Request};
use super::run_status::{RunStatus, StoreStatus};
use crate::chart::Panel;
use crate::tool::error::{CliError, Result};
use crate::tool::handler_state::HandlerState;
use crate::tool::numbers::{count, duration, kibibytes, long_duration, rounded};
use crate::tool::plot::series::single_panel;
use crate::tool::plot::terminal::draw;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use std::io;
use std::time::{Duration, Instant};

/// The width below which the facts are below the charts.
const MIN_COLUMNS: u16 = 55;
/// The minimum time between two redraws.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// The data that one frame (one redraw) of the live view shows.
struct View<'a> {
    status: &'a RunStatus,
    checkpoints: &'a CheckpointStatus,
    /// `true` if the chart of the loss has a logarithmic axis.
    is_log: bool,
    /// `true` if the history or the log does not exist yet.
    is_waiting: bool,
    /// `true` if the history or the log has ended, so that no more lines follow.
    has_ended: bool,
}

/// The maximum time between two redraws if lines arrive all the time.
const MAX_FRAME_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two redraws, as a multiple of the duration of a redraw. Drawing the charts of a long run takes long.
const DRAW_FACTOR: u32 = 10;

pub fn run(feed: &Feed, status: &mut RunStatus, watcher: Option<CheckpointWatcher>) -> Result<()> {
    let mut terminal = LiveTerminal::open().map_err(CliError::io("open", "the terminal".as_ref()))?;
    run_until_quit(feed, status, watcher, &mut terminal)
}

fn run_until_quit(
    feed: &Feed,
    status: &mut RunStatus,
    mut watcher: Option<CheckpointWatcher>,
    terminal: &mut LiveTerminal,
) -> Result<()> {
    let terminal_error = |cause| CliError::io("draw to", "the terminal".as_ref())(cause);
    let (mut checkpoints, mut is_log, mut has_ended) = (CheckpointStatus::default(), false, false);
    let (mut is_waiting, epochs) = (feed.is_waiting(), status.epochs);
    // The view is redrawn only after a change, so that the view of a finished run uses no processor time.
    let (mut needs_redraw, mut frame_interval) = (true, FRAME_INTERVAL);
    loop {
        let last_frame = Instant::now();
        // All lines that arrive before the next frame are applied together. A long history therefore appears at once.
        while let Some(timeout) = frame_interval.checked_sub(last_frame.elapsed()).filter(|_| !has_ended) {
            let Some(event) = feed.next(timeout.min(FRAME_INTERVAL)) else {
                status.sample_pace(Instant::now());
                break;
            };
            needs_redraw = true;
            match event? {
                FeedEvent::Line(line) => {
                    super::check_version(feed, &line)?;
                    drop(status.apply_line(&line));
                }
                FeedEvent::Opened => is_waiting = false,
                FeedEvent::Restart => status.restart(),
                FeedEvent::End => has_ended = true,
            }
        }
        if let Some(read) = watcher.as_mut().and_then(|watcher| watcher.read_after_save(status.saves)) {
            status.epochs = epochs.or(read.epochs);
            status.epoch_length = read.epoch_length.or(status.epoch_length);
            (checkpoints, needs_redraw) = (read, true);
        }
        if std::mem::take(&mut needs_redraw) {
            let start = Instant::now();
            let view = View { status, checkpoints: &checkpoints, is_log, is_waiting, has_ended };
            terminal.draw(|frame| view.draw(frame)).map_err(terminal_error)?;
            frame_interval = (start.elapsed() * DRAW_FACTOR).clamp(FRAME_INTERVAL, MAX_FRAME_INTERVAL);
        }
        let timeout = if has_ended { FRAME_INTERVAL } else { Duration::ZERO };
        let input = next_input(timeout).map_err(terminal_error)?;
        needs_redraw |= input.is_some();
        let request = match input {
            Some(Input::Key(KeyCode::Char('q') | KeyCode::Esc, _)) => return Ok(()),
            Some(Input::Key(KeyCode::Char('c'), modifiers)) if modifiers.contains(KeyModifiers::CONTROL) => {
                return Ok(());
            }
            Some(Input::Key(KeyCode::Char('z'), modifiers)) if modifiers.contains(KeyModifiers::CONTROL) => {
                terminal.stop().map(Some)
            }
            Some(Input::Key(KeyCode::Char('l'), _)) => {
                is_log = !is_log;
                Ok(None)
            }
            _ => terminal.handle_signals(),
        };
        match request.map_err(terminal_error)? {
            Some(Request::Quit) => return Ok(()),
            Some(Request::Redraw) => needs_redraw = true,
            None => (),
        }
    }
}

/// An input from the terminal.
enum Input {
    Key(KeyCode, KeyModifiers),
    /// Any other input, for example a change of the window size.
    Other,
}

/// Returns the next input. Waits at most for `timeout`.
fn next_input(timeout: Duration) -> io::Result<Option<Input>> {
    if !event::poll(timeout)? {
        return Ok(None);
    }
    Ok(Some(match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => Input::Key(key.code, key.modifiers),
        _ => Input::Other,
    }))
}

impl View<'_> {
    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, middle, messages, keys] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(8), Constraint::Length(7), Constraint::Length(1)])
                .areas(frame.area());
        frame.render_widget(self.title(), head);
        let facts_lines = self.facts();
        // In a narrow terminal, the facts are below the charts, because the labels of a chart need space.
        let [charts, facts] = match frame.area().width {
            0..MIN_COLUMNS => {
                let height = u16::try_from(facts_lines.len() + 2).unwrap_or(u16::MAX).min(middle.height / 2);
                Layout::vertical([Constraint::Min(6), Constraint::Length(height)]).areas(middle)
            }
            MIN_COLUMNS..70 => Layout::horizontal([Constraint::Min(30), Constraint::Percentage(40)]).areas(middle),
            70.. => Layout::horizontal([Constraint::Min(20), Constraint::Length(38)]).areas(middle),
        };
        self.draw_charts(frame, charts);
        let block = || Block::bordered().border_style(Color::DarkGray);
        frame.render_widget(Paragraph::new(facts_lines).wrap(Wrap { trim: false }).block(block()), facts);
        let visible = usize::from(messages.height.saturating_sub(2));
        let skipped = self.status.messages.len().saturating_sub(visible);
        let last = self.status.messages.iter().skip(skipped);
        let text: Vec<Line<'_>> = last.map(|message| Line::from(message.as_str())).collect();
        frame.render_widget(Paragraph::new(text).block(block()), messages);
        frame.render_widget(Line::from(" q quit   l logarithmic loss").fg(Color::DarkGray), keys);
    }

    fn title(&self) -> Line<'_> {
        let RunStatus { name, epoch, iteration, has_iterations, stop_reason, .. } = self.status;
        let state = match stop_reason {
            Some(reason) => Span::from(format!(" stopped: {reason} ")).black().on_yellow(),
            None if self.is_waiting => Span::from(" waiting ").black().on_gray(),
            None if self.has_ended => Span::from(" end of the log ").black().on_gray(),
            None => Span::from(" running ").black().on_green(),
        };
        let total = |total: Option<u32>| total.map_or(String::new(), |total| format!("/{total}"));
        let mut position = format!("  epoch {epoch}{}", total(self.status.epochs));
        if *has_iterations {
            let iterations = self.status.progress().map(|(_, total)| total);
            position += &format!(", iteration {iteration}{}", total(iterations));
        }
        if let Some(seconds) = self.status.remaining_seconds() {
            position += &format!(", {} left", long_duration(seconds));
        }
        if self.is_waiting {
            position = "  the run has not started".to_owned();
        }
        Line::from(vec![Span::from(format!(" {name}  ")).bold(), state, Span::from(position)])
    }

    /// Draws the chart of the loss. Below it, draws the charts of as many metrics as the height allows.
    fn draw_charts(&self, frame: &mut Frame<'_>, area: Rect) {
        let max_charts = usize::from(area.height / 8).clamp(1, 3);
        let mut panels: Vec<Panel> = Vec::new();
        if !self.status.losses.is_empty() {
            let mut panel = single_panel("training loss", self.status.losses.clone());
            panel.is_logarithmic = self.is_log;
            panels.push(panel);
        }
        let curves = self.status.metrics.iter().chain(&self.status.scalars);
        panels.extend(curves.map(|(name, points)| single_panel(name, points.clone())));
        panels.truncate(max_charts);
        if panels.is_empty() {
            panels.push(single_panel("no data yet", vec![]));
        }
        let rows = Layout::vertical(panels.iter().map(|_| Constraint::Fill(1))).split(area);
        for (panel, area) in panels.iter().zip(rows.iter()) {
            draw(panel, &[], *area, frame.buffer_mut());
        }
    }

    /// Returns one line for each fact about the run.
    fn facts(&self) -> Vec<Line<'_>> {
        let status = self.status;
        let mut lines = Vec::new();
        lines.extend(status.losses.last().map(|(_, loss)| fact("loss", rounded(*loss))));
        for (name, points) in status.metrics.iter().chain(&status.scalars) {
            lines.extend(points.last().map(|(_, value)| fact(name, rounded(*value))));
        }
        lines.extend(status.iteration_seconds().map(|seconds| fact("iteration", duration(seconds))));
        lines.push(match status.non_finite {
            None => fact("NaN guard", "all losses are finite".to_owned()),
            Some((first, count)) => fact("NaN guard", format!("{count} since iteration {first}")).fg(Color::Red),
        });
        lines.extend(self.patience().map(|text| fact("patience", text)));
        status.stores.iter().for_each(|store| lines.extend(store_facts(store)));
        lines.extend(self.wear());
        if status.resumes > 0 {
            lines.push(fact("resumed", count(status.resumes, "time")));
        }
        for (number, name) in [(status.failures, "failures"), (self.checkpoints.damaged, "damaged")] {
            if number > 0 {
                lines.push(fact(name, number.to_string()).style(Style::new().fg(Color::Red)));
            }
        }
        lines
    }

    /// Returns the text for the remaining patience (the number of epochs without improvement that `EarlyStopping` still
    /// allows). The number in the log is preferred, because the log is newer than the checkpoints.
    fn patience(&self) -> Option<String> {
        let patience = self.status.patience;
        if let Some(left) = self.status.patience_left {
            return Some(match patience {
                Some(patience) => format!("{left} of {patience} left"),
                None => format!("{left} left"),
            });
        }
        self.checkpoints.handlers.iter().find_map(|state| match (state, patience) {
            (HandlerState::EarlyStopping { counter, .. }, Some(patience)) => {
                Some(format!("{} of {patience} left", patience.saturating_sub(*counter)))
            }
            (HandlerState::EarlyStopping { counter, .. }, None) => Some(format!("{counter} without improvement")),
            _ => None,
        })
    }

    /// Returns the lines about flash wear. The checkpoints in flash contain the exact erase counts. The estimated
    /// counts from the log are used only if there are no checkpoints.
    fn wear(&self) -> Vec<Line<'_>> {
        let erases = |number: u32| count(number as usize, "erase");
        if self.checkpoints.erases.is_empty() {
            let of_store =
                |store: &StoreStatus| Some(fact("wear", format!("{}, {}", erases(store.erases?), store.name)));
            return self.status.stores.iter().filter_map(of_store).collect();
        }
        let of_region =
            |(region, number): &(String, u32)| fact("wear", format!("{}, region {region}", erases(*number)));
        self.checkpoints.erases.iter().map(of_region).collect()
    }
}

/// Returns a line with a name and a value.
fn fact(name: &str, value: String) -> Line<'static> {
    Line::from(vec![Span::from(format!("{name:<10} ")).fg(Color::DarkGray), Span::from(value)])
}

/// Returns the lines about the kept checkpoints and the number of saves of a store.
fn store_facts(store: &StoreStatus) -> [Line<'static>; 2] {
    let describe = |(step, score): &(u32, Option<f32>)| match score {
        Some(score) => format!("{step} ({})", rounded(f64::from(*score))),
        None => step.to_string(),
    };
    let kept: Vec<String> = store.kept.iter().map(describe).collect();
    let saves = format!("{}, {}", count(store.saves, "save"), kibibytes(store.bytes));
    [fact(&store.name, kept.join(", ")), fact("", saves).dim()]
}
