//! Modules and optimizers that a checkpoint cannot contain: saving fails with an error that names the tensor and the
//! reason.

use burn::module::{Module, Param, ParamId};
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{DType, Device, Int, Tensor};
use std::error::Error;
use training_monitor::checkpoint::EncodeError;
use training_monitor::event::IterationCompleted;
use training_monitor::store::ram::Ram;
use training_monitor::{Engine, ModelCheckpoint, RunError};
use training_monitor_burn_example::{Reason, TrainingState};

fn device() -> Device {
    Device::default().autodiff()
}

fn adamw() -> ModuleOptimizer {
    AdamWConfig::new().init()
}

/// Saves `state` in a run, and asserts that the save fails. Returns the reason and the message for the user.
fn save_failure<M: Module>(mut state: TrainingState<M>) -> (Reason, String) {
    let attached =
        ModelCheckpoint::<1>::every(1).map(|policy| policy.attach(IterationCompleted, Ram::<2, 2048>::new()));
    let Ok(Ok(mut checkpoint)) = attached else { panic!("the settings are valid") };
    let run = Engine::new(1).run(&mut state, 0..1, &mut checkpoint, |_, _, _| ());
    // The run checks before its first event whether the model can be saved.
    assert!(matches!(run, Err(RunError::Start(EncodeError::Unavailable))), "{run:?}");
    let unavailable = state.unavailable().expect("the save failed");
    (unavailable.reason.clone(), unavailable.to_string())
}

#[derive(Module, Debug)]
struct Weights<T: Module> {
    weight: T,
}

#[derive(Module, Debug)]
struct ParameterWith33Bytes {
    parameter_with_a_name_of_33_bytes: Param<Tensor<1>>,
}

#[test]
fn path_of_33_bytes_is_unavailable() {
    let parameter_with_a_name_of_33_bytes = Param::from_data([1.0], &device());
    let module = ParameterWith33Bytes { parameter_with_a_name_of_33_bytes };
    let (reason, message) = save_failure(TrainingState::new(module, adamw()));
    assert_eq!(reason, Reason::NameLength(33));
    let expected =
        "the path of tensor `parameter_with_a_name_of_33_bytes` has 33 bytes; a checkpoint allows 1 to 32 bytes";
    assert_eq!(message, expected);
}

#[test]
fn tensors_of_other_types_are_unavailable() {
    let integers = Tensor::<1, Int>::from_data([1, 2], &device());
    let dtype = integers.dtype();
    let module = Weights { weight: Param::initialized(ParamId::new(), integers) };
    assert_eq!(save_failure(TrainingState::new(module, adamw())).0, Reason::DType(dtype));
    let doubles = Tensor::<1>::from_data([1.0, 2.0], (&device(), DType::F64));
    let module = Weights { weight: Param::from_tensor(doubles) };
    let (reason, message) = save_failure(TrainingState::new(module, adamw()));
    assert_eq!(reason, Reason::DType(DType::F64));
    assert_eq!(message, "tensor `weight` has elements of type F64; a checkpoint contains f32 tensors only");
}

#[test]
fn tensor_of_7_dimensions_is_unavailable() {
    let module = Weights { weight: Param::from_tensor(Tensor::<7>::zeros([1; 7], &device())) };
    let (reason, message) = save_failure(TrainingState::new(module, adamw()));
    assert_eq!(reason, Reason::Rank(7));
    assert_eq!(message, "tensor `weight` has 7 dimensions; a checkpoint allows at most 6");
}

#[test]
fn module_without_tensors_is_unavailable() {
    let module = Weights { weight: None::<Linear> };
    let (reason, message) = save_failure(TrainingState::new(module, adamw()));
    assert_eq!(reason, Reason::NoParameters);
    assert_eq!(message, "the module has no tensors");
}

/// A state with an optimizer that has made one step.
fn state_after_one_step(optimizer: ModuleOptimizer) -> Result<TrainingState<Linear>, Box<dyn Error>> {
    let mut state = TrainingState::new(LinearConfig::new(2, 3).init(&device()), optimizer);
    let module = state.module()?;
    let loss = module.forward(Tensor::<2>::from_data([[0.5, -1.0]], &device())).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), module);
    state.step(0.1, gradients)?;
    Ok(state)
}

#[test]
fn optimizers_with_other_state_are_unavailable() -> Result<(), Box<dyn Error>> {
    let sgd = SgdConfig::new().with_momentum(Some(MomentumConfig::new())).init();
    let amsgrad = AdamWConfig::new().with_amsgrad(true).init();
    for (optimizer, state) in [(sgd, "momentum.velocity"), (amsgrad, "momentum.max_moment_2")] {
        let (reason, message) = save_failure(state_after_one_step(optimizer)?);
        assert_eq!(reason, Reason::OptimizerState);
        let expected =
            format!("the optimizer has the state `{state}`; only Adam and AdamW without AMSGrad are supported");
        assert_eq!(message, expected);
    }
    Ok(())
}
