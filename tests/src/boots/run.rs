//! One start of a device: resumes the run, answers a refusal, and runs. Compares the results with the history of the
//! device.

use super::boot::End;
use super::expect::{Expected, expect, expect_best};
use super::handlers::{self, Handlers};
use super::history::History;
use super::medium::Inspect;
use super::net::Net;
use super::program::{DATA, Program};
use super::watch::{Watch, WatchEvent, Watched};
use training_monitor::engine::Resumed;
use training_monitor::run_record::RestoreError;
use training_monitor::{Engine, Outcome, RunError, StopReason};

/// The engine of all programs. Its record has room for the states of all handlers.
type DeviceEngine = Engine<f32, (), 256>;

/// What the checks inside a start need.
pub(super) struct Check<'a> {
    pub history: &'a History,
    pub newest: Option<(u32, u32, Program)>,
    pub finished: Option<(u32, Outcome)>,
}

/// Runs a program. Returns how it ended, and the number of the run.
pub(super) fn run<'w, S: Inspect>(
    program: &Program,
    mut first: Watched<'w, S>,
    mut second: Option<Watched<'w, S>>,
    watch: &'w Watch,
    seed: u64,
    check: &Check<'_>,
    is_verbose: bool,
) -> Result<(End, Option<u32>), String> {
    first.snapshot();
    second.iter_mut().for_each(Watched::snapshot);
    let mut handlers = match handlers::attach(program, first, second, watch, seed) {
        Ok(handlers) => handlers,
        Err(error) if error == "attach" && watch.has_failed.get() => return Ok((End::Interrupted, None)),
        Err(error) => return Err(format!("the handlers were not attached: {error}")),
    };
    snapshot(&mut handlers);
    let mut net = Net::new(program.model);
    let mut engine = DeviceEngine::with_record_capacity(u32::from(program.epochs), ());
    if program.sets_epoch_length() {
        engine = engine.with_epoch_length(program.epoch_length());
    }
    let mut resumed = engine.resume(&mut net, &mut handlers);
    if resumed == Err(RestoreError::ListFailed) && watch.has_failed.get() {
        resumed = engine.resume(&mut net, &mut handlers);
    }
    if is_verbose {
        println!("  resume: {resumed:?}, run {}", engine.state().run());
    }
    if watch.is_off() {
        return Ok((End::Interrupted, None));
    }
    let is_exact = !watch.has_failed.get();
    match resumed {
        _ if !is_exact => (),
        Ok(resumed) => check_resumed(program, check, resumed, &engine, &net)?,
        Err(error) => check_refusal(program, check, error, &net)?,
    }
    match resumed {
        Ok(_) | Err(RestoreError::NoneLoadable { .. }) => (),
        Err(RestoreError::BecameUnreadable { .. } | RestoreError::ListFailed) if !is_exact => {
            return Ok((End::Interrupted, None));
        }
        Err(_) => load_best(program, check, &mut handlers, &mut net, watch)?,
    }
    snapshot(&mut handlers);
    watch.record(WatchEvent::Running);
    let recorded = engine.outcome();
    watch.events.set(0);
    let result = train(program, &mut engine, &mut net, &mut handlers, watch);
    if is_verbose {
        println!("  run: {result:?}");
    }
    if watch.is_off() {
        return Ok((End::Interrupted, None));
    }
    let run = engine.state().run();
    if let Some(recorded) = recorded {
        let kept = match result {
            Ok(outcome) => outcome == recorded,
            // A custom loop lists the stores before it returns.
            Err(_) => recorded.reason == StopReason::SaveFailed || watch.has_failed.get(),
        };
        if !kept || watch.events.get() != 0 {
            return Err(format!("a finished run did not stay finished: {recorded:?}, then {result:?}"));
        }
    }
    match result {
        Ok(outcome) if outcome.reason == StopReason::Interrupted => Ok((End::Interrupted, None)),
        Ok(outcome) => {
            let is_old = check.finished.filter(|(finished, _)| *finished == run).map(|(_, outcome)| outcome);
            // A program with fewer epochs resumes before the end of a run with more.
            let is_same = |old: &Outcome| old.epoch <= u32::from(program.epochs);
            if recorded.is_some() && is_old.filter(is_same).is_some_and(|old| old != outcome) {
                return Err(format!("the finished run had the outcome {is_old:?}, now {outcome:?}"));
            }
            Ok((End::Finished { outcome, net, resumed_finished: recorded.is_some() }, Some(run)))
        }
        Err(RunError::SaveFailed(_)) if watch.has_failed.get() || check.history.is_disturbed => {
            Ok((End::SaveFailed, None))
        }
        Err(RunError::Start(_)) if watch.has_failed.get() => Ok((End::SaveFailed, None)),
        Err(error) => Err(format!("the run failed: {error}")),
    }
}

fn snapshot<S: Inspect>(handlers: &mut Handlers<'_, Watched<'_, S>>) {
    handlers::stores(handlers).into_iter().for_each(Watched::snapshot);
}

fn train<S: Inspect>(
    program: &Program,
    engine: &mut DeviceEngine,
    net: &mut Net,
    handlers: &mut Handlers<'_, Watched<'_, S>>,
    watch: &Watch,
) -> Result<Outcome, RunError> {
    if program.custom == 0 {
        return engine.run(net, 0..DATA, handlers, |net, _, state| {
            watch.take_step();
            net.step(state)
        });
    }
    while !watch.is_off() && engine.begin_iteration(net, handlers)? {
        watch.take_step();
        let output = net.step(engine.state());
        engine.end_iteration(output, net, handlers);
    }
    // A run that is interrupted has not ended, so the engine has no outcome.
    let (epoch, iteration) = (engine.state().epoch(), engine.state().iteration());
    Ok(engine.outcome().unwrap_or(Outcome { reason: StopReason::Interrupted, epoch, iteration }))
}

fn check_resumed(
    program: &Program,
    check: &Check<'_>,
    resumed: Option<Resumed>,
    engine: &DeviceEngine,
    net: &Net,
) -> Result<(), String> {
    let (expected, skipped) = expect(check.history, program);
    let Some(resumed) = resumed else {
        let is_right = expected == Expected::Fresh && net.same(&Net::new(program.model));
        return if is_right { Ok(()) } else { Err(format!("resume found no checkpoint, expected {expected:?}")) };
    };
    let Expected::Resumed { run, iteration, index, changed_length, changed_settings } = expected else {
        return Err(format!("{resumed:?}, expected {expected:?}"));
    };
    if (engine.state().run(), resumed.iteration) != (run, iteration) {
        return Err(format!("{resumed:?} of run {}, expected {expected:?}", engine.state().run()));
    }
    if !check.history.written[index].net(program.model).is_some_and(|saved| saved.same(net)) {
        return Err(format!("{resumed:?}: the model differs from that of the checkpoint"));
    }
    if resumed.skipped < skipped || (!check.history.is_disturbed && resumed.skipped > skipped + 4) {
        return Err(format!("{resumed:?}: expected {skipped} skipped checkpoints"));
    }
    let settings = resumed.changed_settings.map(|kind| kind.to_string());
    // After a failed read, a start may have resumed from an older checkpoint, with another number of iterations.
    let other_length = !check.history.is_disturbed && resumed.changed_epoch_length != changed_length;
    if other_length || settings.as_deref() != changed_settings {
        return Err(format!("{resumed:?}: expected the changes {changed_length:?}, {changed_settings:?}"));
    }
    if let Some((newest_run, newest_iteration, last)) = check.newest
        && last == *program
        && (run, iteration) < (newest_run, newest_iteration)
        // A save of another series may have evicted the newest checkpoint, because the store was full.
        && is_stored(check.history, newest_run, newest_iteration)
    {
        return Err(format!("the run goes back to {run}/{iteration}, behind {newest_run}/{newest_iteration}"));
    }
    Ok(())
}

/// Returns whether a medium contains a loadable checkpoint of this point.
fn is_stored(history: &History, run: u32, iteration: u32) -> bool {
    let mut listed = history.listed.iter().flatten();
    listed.any(|listed| listed.is_loadable && (listed.meta.run, listed.meta.iteration) == (run, iteration))
}

fn check_refusal(program: &Program, check: &Check<'_>, error: RestoreError, net: &Net) -> Result<(), String> {
    let (expected, skipped) = expect(check.history, program);
    let is_right = match error {
        RestoreError::NoneLoadable { skipped: found } => {
            // A store also counts checkpoints that it does not list, because they are damaged.
            found >= skipped && (expected == Expected::NoneLoadable || (expected == Expected::Fresh && found > 0))
        }
        RestoreError::Missing { .. } | RestoreError::Unclaimed { .. } => expected == Expected::Refused,
        _ => false,
    };
    if !is_right {
        return Err(format!("resume returned {error:?}, expected {expected:?}"));
    }
    if net.same(&Net::new(program.model)) { Ok(()) } else { Err(format!("{error:?} has changed the model")) }
}

/// Keeps the weights only, as the documentation tells after a refusal.
fn load_best<S: Inspect>(
    program: &Program,
    check: &Check<'_>,
    handlers: &mut Handlers<'_, Watched<'_, S>>,
    net: &mut Net,
    watch: &Watch,
) -> Result<(), String> {
    let found = handlers::load_best(handlers, net);
    if !watch.has_failed.get() && !check.history.listed[0].is_empty() {
        let best = expect_best(check.history, program);
        let expected: Vec<_> = best.into_iter().map(|index| &check.history.written[index]).collect();
        let sequences: Vec<_> = expected.iter().map(|written| written.commit.meta.sequence).collect();
        let is_right = match expected.iter().find(|written| Some(written.commit.meta.sequence) == found) {
            Some(written) => written.net(program.model).is_none_or(|saved| saved.same(net)),
            None => found.is_none() && expected.is_empty(),
        };
        if !is_right {
            return Err(format!("load_best loaded {found:?}, expected one of {sequences:?}"));
        }
    }
    Ok(())
}
