//! The live view in the terminal. It shows charts of the loss and the metrics on the left, facts on the right, and
//! messages below.
//!
//! The library ratatui restores the terminal at the end, even after a panic.

use super::checkpoints::{CheckpointStatus, CheckpointWatcher};
use super::feed::{Feed, FeedEvent};
use super::run_status::{RunStatus, StoreStatus};
use crate::error::{CliError, Result};
use crate::handler_state::HandlerState;
use crate::numbers::{count, duration, kibibytes, rounded};
use crate::plot::series::single_panel;
use crate::plot::terminal::draw;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use std::io;
use std::time::{Duration, Instant};
use training_monitor_std::chart::Panel;

/// The minimum time between two redraws.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// The data that one frame (one redraw) of the live view shows.
struct View<'a> {
    status: &'a RunStatus,
    checkpoints: &'a CheckpointStatus,
    /// `true` if the chart of the loss has a logarithmic axis.
    is_log: bool,
    /// `true` if the history or the log has ended, so that no more lines follow.
    has_ended: bool,
}

pub fn run(feed: &Feed, status: &mut RunStatus, mut watcher: Option<CheckpointWatcher>) -> Result<()> {
    let mut terminal = ratatui::try_init().map_err(CliError::io("open", "the terminal".as_ref()))?;
    let result = run_until_quit(feed, status, watcher.as_mut(), &mut terminal);
    ratatui::restore();
    result
}

fn run_until_quit(
    feed: &Feed,
    status: &mut RunStatus,
    mut watcher: Option<&mut CheckpointWatcher>,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<()> {
    let terminal_error = |cause| CliError::io("draw to", "the terminal".as_ref())(cause);
    let (mut checkpoints, mut is_log, mut has_ended) = (CheckpointStatus::default(), false, false);
    loop {
        let last_frame = Instant::now();
        // All lines that arrive before the next frame are applied together. A long history therefore appears at once.
        while let Some(timeout) = FRAME_INTERVAL.checked_sub(last_frame.elapsed()).filter(|_| !has_ended) {
            match feed.next(timeout) {
                None => break,
                Some(Ok(FeedEvent::Line(line))) => {
                    super::check_version(feed, &line)?;
                    drop(status.apply_line(&line));
                }
                Some(Ok(FeedEvent::Restart)) => status.restart(),
                Some(Ok(FeedEvent::End)) => has_ended = true,
                Some(Err(cause)) => return Err(CliError::io("read", feed.path())(cause)),
            }
        }
        if let Some(read) = watcher.as_mut().and_then(|watcher| watcher.read_after_save(status.saves)) {
            checkpoints = read;
        }
        let view = View { status, checkpoints: &checkpoints, is_log, has_ended };
        terminal.draw(|frame| view.draw(frame)).map_err(terminal_error)?;
        let timeout = if has_ended { FRAME_INTERVAL } else { Duration::ZERO };
        match next_key(timeout).map_err(terminal_error)? {
            Some((KeyCode::Char('q') | KeyCode::Esc, _)) => return Ok(()),
            Some((KeyCode::Char('c'), modifiers)) if modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            Some((KeyCode::Char('l'), _)) => is_log = !is_log,
            _ => (),
        }
    }
}

/// Returns the next key press. Waits at most for `timeout`. Any other event, for example a change of the window size,
/// ends the wait early.
fn next_key(timeout: Duration) -> io::Result<Option<(KeyCode, KeyModifiers)>> {
    while event::poll(timeout)? {
        let Event::Key(key) = event::read()? else { break };
        if key.kind == KeyEventKind::Press {
            return Ok(Some((key.code, key.modifiers)));
        }
    }
    Ok(None)
}

impl View<'_> {
    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, middle, messages, keys] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(8), Constraint::Length(7), Constraint::Length(1)])
                .areas(frame.area());
        frame.render_widget(self.title(), head);
        let is_wide = frame.area().width >= 70;
        let facts_width = if is_wide { Constraint::Length(38) } else { Constraint::Percentage(45) };
        let [charts, facts] = Layout::horizontal([Constraint::Min(20), facts_width]).areas(middle);
        self.draw_charts(frame, charts);
        let block = || Block::bordered().border_style(Color::DarkGray);
        frame.render_widget(Paragraph::new(self.facts()).wrap(Wrap { trim: false }).block(block()), facts);
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
            None if self.has_ended => Span::from(" end of the log ").black().on_gray(),
            None => Span::from(" running ").black().on_green(),
        };
        let iteration = if *has_iterations { format!(", iteration {iteration}") } else { String::new() };
        let position = format!("  epoch {epoch}{iteration}");
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
