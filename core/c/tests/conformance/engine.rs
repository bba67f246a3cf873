//! The events of the engine.

use super::common::{self, object};
use super::traces::{int, list, replay_all};
use serde_json::Value;
use std::ffi::c_void;
use training_monitor_c::tm_status::*;
use training_monitor_c::*;

/// The events of a run, and the action of the trace.
struct Recorder {
    log: Vec<(String, u32, u32)>,
    action: Option<(u32, u32, u32)>,
}

const NAMES: [(&str, u32); 8] = [
    ("started", TM_STARTED),
    ("epoch_started", TM_EPOCH_STARTED),
    ("iteration_started", TM_ITERATION_STARTED),
    ("iteration_completed", TM_ITERATION_COMPLETED),
    ("epoch_completed", TM_EPOCH_COMPLETED),
    ("completed", TM_COMPLETED),
    ("terminate", TM_TERMINATE),
    ("terminate_single_epoch", TM_TERMINATE_SINGLE_EPOCH),
];

fn event_of(name: &Value) -> u32 {
    NAMES.iter().find(|(text, _)| name == text).map_or(0, |(_, event)| *event)
}

unsafe extern "C" fn record(context: *mut c_void, event: *const tm_event) -> u32 {
    let (recorder, event) = unsafe { (&mut *context.cast::<Recorder>(), &*event) };
    let name = NAMES.iter().find(|(_, code)| *code == event.event).map_or("unknown", |(name, _)| name);
    recorder.log.push((name.into(), event.epoch, event.iteration));
    let is_of_iteration = event.event & (TM_ITERATION_STARTED | TM_ITERATION_COMPLETED) != 0;
    let occurrence = if is_of_iteration { event.iteration } else { event.epoch };
    match recorder.action {
        Some((code, at, action)) if (code, at) == (event.event, occurrence) => action,
        _ => TM_ACTION_CONTINUE,
    }
}

fn engines(name: &str, at_least: usize) {
    replay_all(name, at_least, |trace| unsafe {
        let config = &trace["config"];
        let batches = int(&config["batches"]);
        let epoch_length = config["epoch_length"].as_u64().map_or(batches, |length| length as u32);
        let runs = config["runs"].as_array().map_or(&[][..], |runs| &runs[..]);
        let is_fixed = !config["epoch_length"].is_null() || runs.iter().all(|run| int(run) == batches);
        // A custom loop has no batch events, and cannot start after an epoch without a checkpoint.
        let has_batch_events = config["action"]["on"].as_str().is_some_and(|event| event.starts_with("get_batch"));
        if !config["resume_at"].is_null() || !is_fixed || has_batch_events {
            return false;
        }
        let action = config["action"].as_object().map(|action| {
            let code = if action["kind"] == "terminate" { TM_REASON_USER } else { TM_ACTION_TERMINATE_EPOCH };
            (event_of(&action["on"]), int(&action["at"]), code)
        });
        let mut recorder = Recorder { log: Vec::new(), action };
        let recorder: *mut Recorder = &mut recorder;
        let (mut engine, mut callback) = (object(), object());
        let model = common::CModel::new(Box::leak(Box::new(common::Trainee::new())));
        let config_c = tm_engine_config { max_epochs: int(&config["max_epochs"]), epoch_length, model: model.model() };
        assert_eq!(tm_engine_init(&mut engine, &config_c), TM_OK);
        let all_events = NAMES.iter().fold(0, |events, (_, event)| events | event);
        let is_recorded =
            if config["all_events"] == true { all_events } else { all_events ^ TM_TERMINATE_SINGLE_EPOCH };
        // The action can be at an event that the trace does not record.
        let events = is_recorded | action.map_or(0, |(event, ..)| event);
        let config_c = tm_callback_config { function: Some(record), context: recorder.cast(), events };
        assert_eq!(tm_callback_init(&mut callback, &config_c), TM_OK);
        assert_eq!(tm_engine_attach_callback(&mut engine, &mut callback), TM_OK);
        for run in 0..=runs.len() {
            if run > 0 {
                assert_eq!(tm_engine_restart(&mut engine), TM_OK);
            }
            loop {
                match tm_engine_begin_iteration(&mut engine) {
                    TM_OK => (),
                    TM_STOP => break,
                    status => panic!("{status:?} in {}", trace["id"]),
                }
                let (epoch, iteration) = (tm_engine_epoch(&engine), tm_engine_iteration(&engine));
                (*recorder).log.push(("process".into(), epoch, iteration));
                tm_engine_end_iteration(&mut engine, 0.0);
            }
        }
        let expected = list(&trace["log"]).iter().map(|entry| {
            let name = entry[0].as_str().unwrap();
            let name = name.split(' ').next().unwrap();
            (name.to_string(), int(&entry[1]), int(&entry[2]))
        });
        let expected: Vec<_> =
            expected.filter(|(name, ..)| name != "filtered" && !name.starts_with("get_batch")).collect();
        assert_eq!((*recorder).log, expected, "{}", trace["id"]);
        true
    });
}

#[test]
fn engine() {
    engines("engine.newest", 30);
    engines("engine_more.newest", 5);
}
