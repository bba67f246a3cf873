//! Replays the recorded traces of PyTorch-Ignite, torch and Lightning through the C interface. `cargo run --bin conformance`
//! replays them in Rust.
//!
//! The C interface has no event filters but a mask and a period, no batch events, and fewer settings of schedules. The
//! traces that need more are skipped; each test states how many traces it replays at least.

#![allow(clippy::undocumented_unsafe_blocks, reason = "the tests call the interface as a C program does")]

mod common;
#[path = "conformance/engine.rs"]
mod engine;
#[path = "conformance/traces.rs"]
mod traces;

use common::{object, zero};
use serde_json::Value;
use traces::{assert_near, float, int, largest, list, number, replay_all};
use training_monitor_c::tm_status::*;
use training_monitor_c::*;

fn mode(value: &Value) -> u8 {
    if value == "min" { TM_MODE_MIN } else { TM_MODE_MAX }
}

fn threshold_mode(value: &Value) -> u8 {
    if value == "rel" { TM_THRESHOLD_REL } else { TM_THRESHOLD_ABS }
}

#[test]
fn early_stopping() {
    replay_all("early_stopping.newest", 60, |trace| unsafe {
        let config = &trace["config"];
        let config = tm_early_stopping_config {
            patience: int(&config["patience"]),
            threshold: float(&config["threshold"]),
            threshold_mode: threshold_mode(&config["threshold_mode"]),
            mode: mode(&config["mode"]),
            cumulative: config["cumulative"].as_bool().unwrap().into(),
            ..zero()
        };
        let mut stopping = object();
        assert_eq!(tm_early_stopping_init(&mut stopping, &config), TM_OK);
        let mut terminated = false;
        for call in list(&trace["calls"]) {
            if call["reset_before"] == true {
                assert_eq!(tm_early_stopping_reset(&mut stopping), TM_OK);
            }
            terminated |= tm_early_stopping_update(&mut stopping, float(&call["score"])) == TM_STOP;
            assert_eq!(terminated, call["terminated"], "{}", trace["id"]);
            assert_eq!(tm_early_stopping_counter(&stopping), int(&call["counter"]), "{}", trace["id"]);
            let mut best = f32::NAN;
            let found = tm_early_stopping_best(&stopping, &mut best);
            match &call["best_score"] {
                Value::Null => assert_eq!(found, TM_NONE),
                expected => assert_eq!((found, best), (TM_OK, float(expected)), "{}", trace["id"]),
            }
        }
        true
    });
}

#[test]
fn retention() {
    replay_all("retention.newest", 40, |trace| unsafe {
        let config = &trace["config"];
        let scored = config["scored"] == true;
        let Some(n_saved) = config["n_saved"].as_u64().filter(|n_saved| *n_saved <= TM_MAX_SAVED as u64) else {
            return false;
        };
        let config = tm_checkpoint_config {
            n_saved: n_saved as u32,
            interval: (!scored).into(),
            greater_or_equal: config["greater_or_equal"].as_bool().unwrap().into(),
            ..zero()
        };
        let mut policy = object();
        assert_eq!(tm_policy_init(&mut policy, &config), TM_OK);
        // The trace chooses the steps, so the replay maps the numbers of the calls to them.
        let mut steps = vec![0];
        for call in list(&trace["calls"]) {
            steps.push(int(&call["step"]));
            let score = if call["score"].is_null() { f32::NAN } else { float(&call["score"]) };
            let (mut decision, mut evicted): (tm_decision, tm_decision) = (zero(), zero());
            if tm_policy_update(&mut policy, score, &mut decision) == TM_OK {
                tm_policy_commit(&mut policy, &decision, &mut evicted);
            }
            let mut kept = Vec::new();
            while tm_policy_kept(&policy, kept.len() as u32, &mut decision) == TM_OK {
                kept.push(steps[decision.step as usize]);
            }
            kept.sort_unstable();
            let mut expected: Vec<u32> = list(&call["kept_steps"]).iter().map(int).collect();
            expected.sort_unstable();
            assert_eq!(kept, expected, "{}", trace["id"]);
        }
        true
    });
}

fn timers(name: &str) {
    replay_all(name, 60, |trace| unsafe {
        let hertz = number(&trace["config"]["tick_hz"]);
        let is_total = u8::from(trace["config"]["average"] == false);
        let (mut now, mut timer) = (0, object());
        assert_eq!(tm_timer_init(&mut timer, &tm_timer_config { is_total, ..zero() }, now), TM_OK);
        for call in list(&trace["calls"]) {
            now += u64::from(int(&call["advance_ticks"]));
            let status = match call["op"].as_str().unwrap() {
                "pause" => tm_timer_pause(&mut timer, now),
                "resume" => tm_timer_resume(&mut timer, now),
                "step" => tm_timer_step(&mut timer),
                "reset" => tm_timer_reset(&mut timer, now),
                _ => TM_OK,
            };
            assert_eq!(status, TM_OK);
            // The value in ticks is rounded down.
            let value = number(&call["value"]) * hertz;
            let found = tm_timer_value(&timer, now) as f64;
            assert!(found <= value + 0.01 && found > value - 1.01, "{value} {found} in {}", trace["id"]);
            assert_eq!(tm_timer_total(&timer) as f64, number(&call["total"]) * hertz, "{}", trace["id"]);
            assert_eq!(tm_timer_steps(&timer), int(&call["step_count"]), "{}", trace["id"]);
        }
        true
    });
}

#[test]
fn timer() {
    timers("timer.newest");
    timers("timer.seed");
}

#[test]
fn running_average() {
    replay_all("running_average.ignite", 20, |trace| unsafe {
        if trace["config"]["span"] != "run" {
            return false;
        }
        let mut average = object();
        let config = tm_running_average_config { alpha: float(&trace["config"]["alpha"]), ..zero() };
        assert_eq!(tm_running_average_init(&mut average, &config), TM_OK);
        let calls = list(&trace["calls"]);
        let largest = largest(calls.iter().flat_map(|call| [&call["value"], &call["average"]]));
        for call in calls {
            assert_eq!(tm_running_average_update(&mut average, float(&call["value"])), TM_OK);
            let mut value = f32::NAN;
            tm_running_average_value(&average, &mut value);
            assert_near(number(&call["average"]), value, largest, trace);
        }
        true
    });
}

#[test]
fn weight_average() {
    replay_all("ema.ignite", 60, |trace| unsafe {
        let config = &trace["config"];
        let warmup = config["warmup_iters"].as_u64().filter(|_| !config["momentum_warmup"].is_null());
        let config_c = tm_weight_average_config {
            momentum: float(&config["momentum"]),
            first_momentum: warmup.map_or(0.0, |_| float(&config["momentum_warmup"])),
            warmup_updates: warmup.unwrap_or(0) as u32,
            ..zero()
        };
        let mut ema = object();
        assert_eq!(tm_weight_average_init(&mut ema, &config_c), TM_OK);
        let floats = |values: &Value| list(values).iter().map(float).collect::<Vec<_>>();
        let calls = list(&trace["calls"]);
        let all = calls.iter().flat_map(|call| list(&call["weights"]).iter().chain(list(&call["average"])));
        let largest = largest(list(&config["initial"]).iter().chain(all));
        let mut initial = floats(&config["initial"]);
        let len = initial.len();
        let mut averaged = vec![f32::NAN; len];
        assert_eq!(tm_weight_average_start(&mut ema, averaged.as_mut_ptr(), initial.as_mut_ptr(), len), TM_OK);
        for call in calls {
            let mut weights = floats(&call["weights"]);
            let status = tm_weight_average_update(&mut ema, averaged.as_mut_ptr(), weights.as_mut_ptr(), len);
            assert_eq!(status, TM_OK);
            for (expected, found) in list(&call["average"]).iter().zip(&averaged) {
                assert_near(number(expected), *found, largest, trace);
            }
        }
        true
    });
}

#[test]
fn plateau() {
    replay_all("plateau.torch", 60, |trace| unsafe {
        let config = &trace["config"];
        let largest = largest([&config["base"], &config["min_lr"]].into_iter());
        let config = tm_plateau_config {
            value: float(&config["base"]),
            factor: float(&config["factor"]),
            minimum: float(&config["min_lr"]),
            threshold: float(&config["threshold"]),
            eps: float(&config["eps"]),
            patience: int(&config["patience"]),
            cooldown: int(&config["cooldown"]),
            mode: mode(&config["mode"]),
            threshold_mode: threshold_mode(&config["threshold_mode"]),
            ..zero()
        };
        let mut plateau = object();
        assert_eq!(tm_plateau_init(&mut plateau, &config), TM_OK);
        for call in list(&trace["calls"]) {
            assert_eq!(tm_plateau_update(&mut plateau, float(&call["metric"])), TM_OK);
            assert_near(number(&call["value"]), tm_plateau_value(&plateau), largest, trace);
        }
        true
    });
}

#[test]
fn schedules() {
    replay_all("lr_schedule.torch", 30, |trace| unsafe {
        let config = &trace["config"];
        let base = float(&config["base"]);
        let values = list(&trace["values"]);
        let largest = largest(values.iter().chain([&config["base"]]));
        for (step, expected) in (0..).zip(values) {
            let field = |name: &str| float(&config[name]);
            let steps = |name: &str| int(&config[name]);
            let mut value = f32::NAN;
            let status = match config["schedule"].as_str().unwrap() {
                "step" => tm_step_decay(base, steps("step_size"), field("gamma"), step, &mut value),
                "exponential" => tm_exponential(base, field("gamma"), step, &mut value),
                "linear" => {
                    let (start, end) = (field("start_factor"), field("end_factor"));
                    tm_linear(base, start, end, steps("total_iters"), step, &mut value)
                }
                "polynomial" => tm_polynomial(base, field("power"), steps("total_iters"), step, &mut value),
                "cosine" => tm_cosine(base, field("eta_min"), steps("t_max"), step, &mut value),
                "cosine_restarts" => {
                    tm_cosine_restarts(base, field("eta_min"), steps("t_0"), steps("t_mult"), step, &mut value)
                }
                "multi_step" => {
                    let milestones: Vec<u32> = list(&config["milestones"]).iter().map(int).collect();
                    let (pointer, len) = (milestones.as_ptr(), milestones.len());
                    tm_multi_step(base, pointer, len, field("gamma"), step, &mut value)
                }
                "cyclic" if config["mode"] == "triangular" => {
                    let (up, down) = (steps("step_size_up"), steps("step_size_down"));
                    tm_cyclic(field("base_lr"), field("max_lr"), up, down, step, &mut value)
                }
                _ => return false,
            };
            assert_eq!(status, TM_OK, "{}", trace["id"]);
            assert_near(number(expected), value, largest, trace);
        }
        true
    });
}

/// Collects the numbers of an output, however deeply they are nested.
fn flatten(tree: &Value, numbers: &mut Vec<f32>) {
    let (kind, content) = tree.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        // A number of the trace is f64, and a device has f32. A finite number that f32 cannot represent is still finite.
        "number" => numbers.push(if number(content).is_finite() { 0.0 } else { f32::NAN }),
        "tensor" => numbers.extend(list(content).iter().map(float)),
        "list" => list(content).iter().for_each(|tree| flatten(tree, numbers)),
        "map" => list(content).iter().for_each(|entry| flatten(&entry[1], numbers)),
        _ => panic!("{kind}"),
    }
}

#[test]
fn nan_guard() {
    replay_all("terminate_on_nan.seed", 60, |trace| unsafe {
        for call in list(&trace["calls"]) {
            let (mut guard, mut numbers) = (object(), Vec::new());
            flatten(&call["output"], &mut numbers);
            assert_eq!(tm_nan_guard_init(&mut guard, &zero()), TM_OK);
            let status = tm_nan_guard_update(&mut guard, numbers.as_ptr(), numbers.len());
            assert_eq!(status == TM_STOP, call["terminated"], "{}", trace["id"]);
        }
        true
    });
}
