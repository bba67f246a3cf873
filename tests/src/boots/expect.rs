//! Where a program must resume, according to the content of the media.

use super::handlers::settings;
use super::history::{History, Series};
use super::program::Program;

/// What `Engine::resume` must return.
#[derive(Clone, PartialEq, Debug)]
pub enum Expected {
    /// There is no checkpoint.
    Fresh,
    /// There are checkpoints, but none fits.
    NoneLoadable,
    /// The newest checkpoint that fits was saved with other handlers.
    Refused,
    /// The run resumes.
    Resumed {
        /// The number of the run.
        run: u32,
        /// The iteration of the checkpoint.
        iteration: u32,
        /// The index of the checkpoint in the history.
        index: usize,
        /// The number of iterations per epoch of the checkpoint, if the program has set another one.
        changed_length: Option<u32>,
        /// The kind of the first handler with other settings.
        changed_settings: Option<&'static str>,
    },
}

/// Returns what `Engine::resume` must return, and how many listed checkpoints it skips.
pub fn expect(history: &History, program: &Program) -> (Expected, u32) {
    let places = 0..=usize::from(program.second);
    // The checkpoints of all stores, the newest first, with the index of those that fit.
    let mut candidates = Vec::new();
    for place in places {
        for listed in &history.listed[place] {
            let fits = |index: &usize| listed.is_loadable && program.fits(history.written[*index].program.model);
            let index = history.find(place, listed.content).filter(fits);
            candidates.push((listed.meta.run, listed.meta.iteration, listed.meta.sequence, index));
        }
    }
    candidates.sort_unstable();
    let mut skipped = 0;
    for (run, iteration, _, index) in candidates.into_iter().rev() {
        let Some(index) = index else {
            skipped += 1;
            continue;
        };
        let saved = &history.written[index].program;
        let (old, new) = (settings(saved), settings(program));
        let kinds = |settings: &[(&'static str, String)]| {
            let mut kinds: Vec<_> = settings.iter().map(|(kind, _)| *kind).collect();
            kinds.sort_unstable();
            kinds
        };
        if kinds(&old) != kinds(&new) {
            return (Expected::Refused, skipped);
        }
        let changed = |setting: &&(&'static str, String)| !old.contains(setting);
        let length = history.written[index].epoch_length;
        let changed_length = (program.sets_epoch_length() && length != program.epoch_length()).then_some(length);
        let changed_settings = new.iter().find(changed).map(|(kind, _)| *kind);
        return (Expected::Resumed { run, iteration, index, changed_length, changed_settings }, skipped);
    }
    (if skipped > 0 { Expected::NoneLoadable } else { Expected::Fresh }, skipped)
}

/// Returns the number of iterations per epoch of `program`. A program without a setting continues with the number of its
/// checkpoint.
pub fn epoch_length(history: &History, program: &Program) -> u32 {
    match expect(history, program).0 {
        Expected::Resumed { index, .. } if !program.sets_epoch_length() => history.written[index].epoch_length,
        _ => program.epoch_length(),
    }
}

/// Returns the checkpoints of which `load_best` must load one: the best of the series, or else the newest one that fits.
/// Several checkpoints can have the best score.
pub fn expect_best(history: &History, program: &Program) -> Vec<usize> {
    let series = Series::of(program, 0);
    let fitting = |listed: &&super::medium::MediumCheckpoint| {
        let written = history.find(0, listed.content).map(|index| &history.written[index]);
        listed.is_loadable && written.is_some_and(|written| program.fits(written.program.model))
    };
    let listed: Vec<_> = history.listed[0].iter().filter(fitting).collect();
    let own = |listed: &&&super::medium::MediumCheckpoint| {
        history.find(0, listed.content).is_some_and(|index| history.written[index].series == series)
    };
    let score = |listed: &super::medium::MediumCheckpoint| listed.meta.score.unwrap_or(f32::NEG_INFINITY);
    let best = listed.iter().filter(own).max_by(|a, b| match series.rule {
        0 => a.meta.sequence.cmp(&b.meta.sequence),
        _ => score(a).total_cmp(&score(b)),
    });
    let Some(best) = best else {
        let newest = listed.iter().max_by_key(|listed| listed.meta.sequence);
        return newest.and_then(|listed| history.find(0, listed.content)).into_iter().collect();
    };
    let is_best = |listed: &&&super::medium::MediumCheckpoint| match series.rule {
        0 => listed.meta.sequence == best.meta.sequence,
        _ => score(listed) == score(best),
    };
    let all = listed.iter().filter(own).filter(is_best);
    all.filter_map(|listed| history.find(0, listed.content)).collect()
}
