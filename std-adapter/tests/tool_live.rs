//! The tool in a pseudo terminal: the live view of `watch`, and tables that fit the width.

#![cfg(target_os = "linux")]

mod tool;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};
use training_monitor::{Outcome, StopReason};
use training_monitor_std::{Directory, History};
use vt100::Parser;

/// A pseudo terminal in which the tool runs.
struct Session {
    controller: File,
    terminal: File,
    screen: Arc<Mutex<Parser>>,
    child: Child,
}

impl Session {
    /// Starts the tool in a terminal of its own.
    fn start(directory: &Path, arguments: &[&str], columns: u16, rows: u16) -> Session {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        // The terminal becomes the controlling terminal of the new process, as in a shell.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(env!("CARGO_BIN_EXE_training-monitor")).args(arguments);
        command.current_dir(directory).env("TERM", "xterm-256color");
        let stdio = || terminal.try_clone().unwrap();
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let screen = Arc::new(Mutex::new(Parser::new(rows, columns, 0)));
        let controller = File::from(controller);
        let (mut output, parser) = (controller.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails after the last process has closed the terminal.
            while let Ok(len @ 1..) = output.read(&mut buffer) {
                parser.lock().unwrap().process(&buffer[..len]);
            }
        });
        Session { controller, terminal, screen, child }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the condition is true.
    #[track_caller]
    fn wait_for(&self, what: &str, condition: impl Fn(&Session) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}:\n{}", self.text());
            sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn wait_for_text(&self, text: &str) {
        self.wait_for(text, |session| session.text().contains(text));
    }

    fn press(&mut self, keys: &[u8]) {
        self.controller.write_all(keys).unwrap();
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Returns the fields of `/proc/PID/stat` after the name of the program. The first one is the state.
    fn stat(&self) -> Vec<String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.split_whitespace().map(str::to_owned).collect()
    }

    /// Returns the processor time of the process, in hundredths of a second.
    fn processor_time(&self) -> u64 {
        self.stat()[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Returns whether the terminal is as a shell expects it: with line editing and echo, and not in the alternate screen.
    fn is_restored(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        let is_cooked = modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        is_cooked && !self.screen.lock().unwrap().screen().alternate_screen()
    }

    /// Ends the live view and checks that it restores the terminal.
    fn quit(mut self) {
        self.press(b"q");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.wait_for("the terminal is not restored", Session::is_restored);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Records `epochs` epochs of 10 iterations.
fn record(history: &History, epochs: u32) {
    for epoch in 1..=epochs {
        for iteration in 10 * epoch - 9..=10 * epoch {
            history.record_iteration(iteration, 1.0 / iteration as f32, Some(1.5));
        }
        history.record_epoch(epoch, &[("accuracy", 0.75)]);
    }
    history.flush().unwrap();
}

#[test]
fn ctrl_z_restores_the_terminal_until_the_process_continues() {
    let dir = tempfile::tempdir().unwrap();
    record(&History::create(dir.path().join("history.jsonl")).unwrap(), 2);
    let mut session = Session::start(dir.path(), &["watch", "."], 80, 24);
    session.wait_for_text(" running ");
    assert!(!session.is_restored());
    let is_stopped = |session: &Session| session.stat()[0] == "T" && session.is_restored();
    // The key, and the signal that another program sends.
    for stop in ["key", "signal"] {
        match stop {
            "key" => session.press(b"\x1a"),
            _ => session.send(Signal::TSTP),
        }
        session.wait_for("the process does not stop", is_stopped);
        session.send(Signal::CONT);
        session.wait_for("the view does not continue", |session| {
            !session.is_restored() && session.text().contains(" running ")
        });
    }
    // SIGSTOP cannot be handled. The shell restores the modes of the terminal, and the view takes it again.
    session.send(Signal::STOP);
    session.wait_for("the process does not stop", |session| session.stat()[0] == "T");
    assert!(Command::new("stty").arg("sane").stdin(session.terminal.try_clone().unwrap()).status().unwrap().success());
    session.send(Signal::CONT);
    session.wait_for("the view does not continue", |session| {
        let modes = tcgetattr(&session.terminal).unwrap().local_modes;
        !modes.contains(LocalModes::ICANON)
    });
    session.quit();
}

#[test]
fn a_signal_ends_the_live_view_in_order() {
    let dir = tempfile::tempdir().unwrap();
    record(&History::create(dir.path().join("history.jsonl")).unwrap(), 2);
    for signal in [Signal::TERM, Signal::INT] {
        let mut session = Session::start(dir.path(), &["watch", "."], 80, 24);
        session.wait_for_text(" running ");
        session.send(signal);
        assert_eq!(session.child.wait().unwrap().code(), Some(0));
        session.wait_for("the terminal is not restored", Session::is_restored);
    }
}

#[test]
fn the_view_waits_for_a_run_and_shows_its_total_and_the_remaining_time() {
    let dir = tempfile::tempdir().unwrap();
    let session = Session::start(dir.path(), &["watch", "runs/digits", "--epochs", "40"], 80, 24);
    session.wait_for_text("digits   waiting   the run has not started");
    fs::create_dir_all(dir.path().join("runs/digits")).unwrap();
    let history = History::create(dir.path().join("runs/digits/history.jsonl")).unwrap();
    record(&history, 4);
    // 360 iterations of 1.5 seconds remain.
    session.wait_for_text("digits   running   epoch 4/40, iteration 40/400, 0:09:00 left");
    history.record_stop(&Outcome { reason: StopReason::EarlyStopping, epoch: 4, iteration: 40 });
    history.flush().unwrap();
    session.wait_for_text("stopped: EarlyStopping   epoch 4/40, iteration 40/400");
    assert!(!session.text().contains(" left"), "{}", session.text());
    session.quit();
}

#[test]
fn a_narrow_terminal_shows_charts_with_labels_and_the_facts_below_them() {
    let dir = tempfile::tempdir().unwrap();
    record(&History::create(dir.path().join("history.jsonl")).unwrap(), 4);
    let session = Session::start(dir.path(), &["watch", "."], 30, 40);
    session.wait_for_text("accuracy   0.75");
    let text = session.text();
    let row =
        |part: &str| text.lines().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}\n{text}"));
    assert!(row("training loss") < row("NaN guard") && row("NaN guard") < row("epoch 4 (iteration 40)"), "{text}");
    // The first and the last iteration, whole, below the chart.
    let axis = text.lines().find(|line| line.contains(" 0 ") && line.contains("40")).expect("no labels");
    assert!(axis.trim_end_matches(['│', ' ']).ends_with("40"), "{text}");
    session.quit();
}

#[test]
fn a_finished_run_of_a_million_lines_uses_no_processor_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines = String::from("{\"schema\":\"training-monitor-history\",\"version\":1}\n");
    for iteration in 1..=1_000_000 {
        lines += &format!("{{\"event\":\"iteration\",\"iteration\":{iteration},\"loss\":0.5}}\n");
    }
    lines += "{\"event\":\"stopped\",\"reason\":\"MaxEpochs\",\"epoch\":1,\"iteration\":1000000}\n";
    fs::write(dir.path().join("history.jsonl"), lines).unwrap();
    let session = Session::start(dir.path(), &["watch", "."], 80, 24);
    session.wait_for_text("stopped: MaxEpochs");
    sleep(Duration::from_secs(1));
    let before = session.processor_time();
    sleep(Duration::from_secs(3));
    // A view that is redrawn ten times per second would use all of the three seconds.
    let used = session.processor_time() - before;
    assert!(used <= 5, "{used} hundredths of a second");
    session.quit();
}

#[test]
fn inspect_fits_the_width_of_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let open = |prefix: &str| Directory::builder(dir.path().join("run"), prefix).open().unwrap();
    tool::train(open("best"), open("latest"));
    for (columns, has_norm) in [(120, true), (80, false), (60, false), (50, false)] {
        let mut session = Session::start(dir.path(), &["inspect", "run"], columns, 60);
        assert_eq!(session.child.wait().unwrap().code(), Some(0));
        session.wait_for_text("seed (value)");
        let text = session.text();
        for part in ["accuracy 0.75", "EarlyStopping", "model.fc.weight", "2×3"] {
            assert!(text.contains(part), "{part} at {columns} columns\n{text}");
        }
        assert_eq!(text.contains("norm"), has_norm, "{columns} columns\n{text}");
        // The terminal wraps no row of a table. These rows begin with a space.
        let parser = session.screen.lock().unwrap();
        let rows = parser.screen().rows(0, columns).enumerate();
        let is_wrapped = |row: usize| parser.screen().row_wrapped(row as u16);
        let wrapped = rows.filter(|(index, row)| row.starts_with(' ') && is_wrapped(*index)).count();
        assert_eq!(wrapped, 0, "{columns} columns\n{text}");
    }
}
