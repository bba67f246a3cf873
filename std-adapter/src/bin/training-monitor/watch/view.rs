//! The live view in a terminal: the loss and a metric on the left, everything else on the right, messages below.
//!
//! Leaves the terminal as it was found, also after a panic (ratatui's own hook).

use super::feed::{Feed, News};
use super::live::Live;
use super::{Medium, Peek};
use crate::failure::{Failure, Result};
use crate::plot::smoothed;
use crate::plot::terminal::{Named, chart};
use crate::states::State;
use crate::stats::short;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use std::time::{Duration, Instant};

/// How often it is redrawn at most.
const FRAME: Duration = Duration::from_millis(100);

pub fn run(feed: &Feed, live: &mut Live, mut medium: Option<Medium>) -> Result<()> {
    let mut terminal = ratatui::try_init().map_err(Failure::io("open", "the terminal".as_ref()))?;
    let result = follow(feed, live, medium.as_mut(), &mut terminal);
    ratatui::restore();
    result
}

fn follow(
    feed: &Feed,
    live: &mut Live,
    mut medium: Option<&mut Medium>,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<()> {
    let (mut peek, mut log, mut over) = (Peek::default(), false, false);
    loop {
        let drawn = Instant::now();
        // Whatever comes until the next frame; a long history at once.
        while let Some(left) = FRAME.checked_sub(drawn.elapsed()).filter(|_| !over) {
            match feed.next(left) {
                None => break,
                Some(Ok(News::Line(line))) => drop(live.line(&line)),
                Some(Ok(News::Restart)) => live.restart(),
                Some(Ok(News::End)) => over = true,
                Some(Err(cause)) => return Err(Failure::io("read", feed.path())(cause)),
            }
        }
        if let Some(seen) = medium.as_mut().and_then(|medium| medium.peek(live.saves)) {
            peek = seen;
        }
        let wrong = |cause| Failure::io("draw to", "the terminal".as_ref())(cause);
        terminal.draw(|frame| draw(frame, live, &peek, log, over)).map_err(wrong)?;
        let wait = if over { FRAME } else { Duration::ZERO };
        while event::poll(wait).map_err(wrong)? {
            let Event::Key(key) = event::read().map_err(wrong)? else { break };
            if key.kind != KeyEventKind::Press {
                continue;
            }
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char('l') => log = !log,
                _ => (),
            }
            break;
        }
    }
}

fn draw(frame: &mut Frame<'_>, live: &Live, peek: &Peek, log: bool, over: bool) {
    let [head, middle, messages, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(8), Constraint::Length(7), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(title(live, over), head);
    let wide = frame.area().width >= 70;
    let side = if wide { Constraint::Length(38) } else { Constraint::Percentage(45) };
    let [charts, facts] = Layout::horizontal([Constraint::Min(20), side]).areas(middle);
    draw_charts(frame, charts, live, log);
    let facts_of = Paragraph::new(lines(live, peek)).wrap(Wrap { trim: false });
    frame.render_widget(facts_of.block(Block::bordered().border_style(Color::DarkGray)), facts);
    let shown = usize::from(messages.height.saturating_sub(2));
    let last = live.messages.iter().skip(live.messages.len().saturating_sub(shown));
    let text: Vec<Line<'_>> = last.map(|message| Line::from(message.as_str())).collect();
    frame.render_widget(Paragraph::new(text).block(Block::bordered().border_style(Color::DarkGray)), messages);
    frame.render_widget(Line::from(" q quit   l logarithm of the loss").fg(Color::DarkGray), keys);
}

fn title(live: &Live, over: bool) -> Line<'_> {
    let state = match &live.stop {
        Some(reason) => Span::from(format!(" stopped: {reason} ")).black().on_yellow(),
        None if over => Span::from(" no more news ").black().on_gray(),
        None => Span::from(" running ").black().on_green(),
    };
    let iteration = if live.counts { format!(", iteration {}", live.iteration) } else { String::new() };
    let place = format!("  epoch {}{iteration}", live.epoch);
    Line::from(vec![Span::from(format!(" {}  ", live.name)).bold(), state, Span::from(place)])
}

/// The loss, and below it the metrics that have room.
fn draw_charts(frame: &mut Frame<'_>, area: Rect, live: &Live, log: bool) {
    let room = usize::from(area.height / 8).clamp(1, 3);
    let mut charts: Vec<(String, Vec<Named>)> = Vec::new();
    if !live.losses.is_empty() {
        let points = smoothed(&live.losses, live.losses.len());
        let logs = || points.iter().filter(|(_, loss)| *loss > 0.0).map(|(at, loss)| (*at, loss.log10())).collect();
        let (title, points) =
            if log { ("log10 of the training loss", logs()) } else { ("training loss", points.clone()) };
        charts.push((title.to_owned(), vec![(title.to_owned(), points)]));
    }
    charts.extend(live.metrics.iter().map(|(name, points)| (name.clone(), vec![(name.clone(), points.clone())])));
    charts.truncate(room);
    if charts.is_empty() {
        charts.push(("nothing to draw yet".to_owned(), vec![]));
    }
    let rows = Layout::vertical(charts.iter().map(|_| Constraint::Fill(1))).split(area);
    for ((title, lines), area) in charts.iter().zip(rows.iter()) {
        frame.render_widget(chart(title, lines, false), *area);
    }
}

/// Facts, a line each.
fn lines<'a>(live: &'a Live, peek: &'a Peek) -> Vec<Line<'a>> {
    let fact = |name: &'a str, value: String| {
        Line::from(vec![Span::from(format!("{name:<10} ")).fg(Color::DarkGray), Span::from(value)])
    };
    let mut lines = Vec::new();
    if let Some((_, loss)) = live.losses.last() {
        lines.push(fact("loss", short(*loss)));
    }
    for (name, points) in &live.metrics {
        if let Some((_, value)) = points.last() {
            lines.push(fact(name, short(*value)));
        }
    }
    if let Some(pace) = live.pace() {
        lines.push(fact("a batch", format!("{} µs", short(pace * 1e6))));
    }
    lines.push(match live.not_finite {
        None => fact("NaN guard", "nothing found".to_owned()),
        Some((first, count)) => fact("NaN guard", format!("{count} since iteration {first}")).fg(Color::Red),
    });
    // The log is ahead of what was saved.
    let counters = peek.handlers.iter().filter_map(|state| match state {
        State::EarlyStopping { counter, .. } if live.left.is_none() => Some(*counter),
        _ => None,
    });
    let told = counters.map(|counter| match live.patience {
        Some(patience) => format!("{} of {patience} left", patience.saturating_sub(counter)),
        None => format!("{counter} without improvement"),
    });
    let left = live.left.map(|left| match live.patience {
        Some(patience) => format!("{left} of {patience} left"),
        None => format!("{left} left"),
    });
    lines.extend(left.into_iter().chain(told).map(|text| fact("patience", text)));
    for store in &live.stores {
        let kept = |(step, score): &(u32, Option<f32>)| match score {
            Some(score) => format!("{step} ({})", short(f64::from(*score))),
            None => step.to_string(),
        };
        let kept: Vec<String> = store.kept.iter().map(kept).collect();
        lines.push(fact(&store.name, kept.join(", ")));
        lines.push(fact("", format!("{} saves, {:.1} KiB", store.saves, store.bytes as f64 / 1024.0)).dim());
    }
    for store in live.stores.iter().filter(|_| peek.wear.is_empty()) {
        lines.extend(store.erases.map(|erases| fact("wear", format!("{erases} erases, {}", store.name))));
    }
    for (region, erases) in &peek.wear {
        lines.push(fact("wear", format!("{erases} erases in region {region}")));
    }
    for (count, name) in [(live.resumed, "resumed"), (live.failures, "failures"), (peek.damaged, "damaged")] {
        if count > 0 {
            let line = fact(name, format!("{count} times"));
            lines.push(if name == "resumed" { line } else { line.style(Style::new().fg(Color::Red)) });
        }
    }
    lines
}
