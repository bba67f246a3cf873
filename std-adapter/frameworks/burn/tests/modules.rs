//! Properties of modules and optimizers that a checkpoint must keep.

use burn::module::{Module, Param, ParamGroup};
use burn::nn::{Linear, LinearConfig, LinearLayout};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::tensor::{Bytes, DType, Device, Tensor};
use burn_pack::{Reader, Scalar, Writer};
use std::collections::BTreeMap;
use std::error::Error;
use training_monitor::checkpoint::{self, Contents, DecodeError};
use training_monitor_burn_example::{NamedTensors, TrainingState};

type TestResult = Result<(), Box<dyn Error>>;

fn device() -> Device {
    Device::default().autodiff()
}

fn adamw() -> ModuleOptimizer {
    AdamWConfig::new().init()
}

/// Saves `state` and returns the checkpoint.
fn encode<M: Module>(state: &mut TrainingState<M>) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = vec![0; 4096];
    let mut rest = &mut bytes[..];
    let encoded = checkpoint::encode(&mut rest, &Contents::new(1), state)?;
    assert_eq!(state.unavailable(), None);
    bytes.truncate(encoded.len as usize);
    Ok(bytes)
}

/// Trains one step with the sum of the squared outputs of `forward` as the loss.
fn step<M: Module>(state: &mut TrainingState<M>, forward: impl Fn(&M) -> Tensor<2>) -> TestResult {
    let module = state.module()?;
    let outputs = forward(module);
    let gradients = GradientsParams::from_grads((outputs.clone() * outputs).sum().backward(), module);
    Ok(state.step(0.1, gradients)?)
}

/// The names and the bits of all tensors of the module.
fn bits<M: Module>(state: &mut TrainingState<M>) -> Result<BTreeMap<String, Vec<u32>>, Box<dyn Error>> {
    let tensors = NamedTensors::copy_from(state.module()?)?;
    let bits = |elements: Vec<f32>| elements.into_iter().map(f32::to_bits).collect();
    Ok(tensors.0.into_iter().map(|tensor| (tensor.name, bits(tensor.elements))).collect())
}

fn forward(linear: &Linear) -> Tensor<2> {
    linear.forward(Tensor::from_data([[0.5, -1.0], [2.0, 0.25]], &device()))
}

/// Trains two steps, saves, loads into a new module, and trains one more step. The saved and the loaded module must
/// have the bits of a module that trains three steps without a checkpoint.
fn continue_after_load(
    new: impl Fn() -> Linear,
    optimizer: impl Fn() -> ModuleOptimizer,
) -> Result<TrainingState<Linear>, Box<dyn Error>> {
    let module = new();
    let mut reference = TrainingState::new(module.clone(), optimizer());
    let mut saved = TrainingState::new(module, optimizer());
    for _ in 0..2 {
        step(&mut reference, forward)?;
        step(&mut saved, forward)?;
    }
    let bytes = encode(&mut saved)?;
    let mut loaded = TrainingState::new(new(), optimizer());
    assert_ne!(bits(&mut loaded)?, bits(&mut reference)?);
    checkpoint::load(&bytes, &mut loaded, None)?;
    for state in [&mut reference, &mut saved, &mut loaded] {
        step(state, forward)?;
    }
    let expected = bits(&mut reference)?;
    assert_eq!(bits(&mut saved)?, expected);
    assert_eq!(bits(&mut loaded)?, expected);
    Ok(loaded)
}

#[test]
fn module_with_a_transposed_weight_is_restored() -> TestResult {
    // burn transposes this weight when it saves or loads its own files.
    continue_after_load(|| LinearConfig::new(2, 3).with_layout(LinearLayout::Col).init(&device()), adamw)?;
    Ok(())
}

#[test]
fn frozen_parameter_stays_frozen() -> TestResult {
    let mut state = continue_after_load(
        || {
            let mut linear = LinearConfig::new(2, 3).init(&device());
            linear.bias = linear.bias.map(|bias| bias.set_require_grad(false));
            linear
        },
        adamw,
    )?;
    let module = state.module()?;
    assert_eq!(module.bias.as_ref().map(|bias| bias.is_require_grad()), Some(false));
    assert!(module.weight.is_require_grad());
    Ok(())
}

#[test]
fn parameter_groups_keep_their_optimizers() -> TestResult {
    // burn selects the optimizer of a restored state by the path of the parameter in the record.
    let optimizer = || {
        let group = AdamWConfig::new().with_beta_1(0.5).build();
        adamw().with_group(ParamGroup::from_path("bias"), group, None)
    };
    continue_after_load(|| LinearConfig::new(2, 3).init(&device()), optimizer)?;
    Ok(())
}

#[test]
fn optimizer_without_state_is_restored_without_state() -> TestResult {
    let new = || LinearConfig::new(2, 3).init(&device());
    let mut saved = TrainingState::new(new(), adamw());
    let bytes = encode(&mut saved)?;
    let mut loaded = TrainingState::new(new(), adamw());
    step(&mut loaded, forward)?;
    assert!(!loaded.optimizer()?.to_record().is_empty());
    checkpoint::load(&bytes, &mut loaded, None)?;
    assert!(loaded.optimizer()?.to_record().is_empty());
    Ok(())
}

#[test]
fn number_of_steps_above_2_to_the_power_of_24_is_exact() -> TestResult {
    let new = || LinearConfig::new(2, 3).with_bias(false).init(&device());
    let time_of = |state: &mut TrainingState<Linear>| -> Result<Vec<Scalar>, Box<dyn Error>> {
        let record = Reader::from_bytes(state.optimizer()?.to_record().into_bytes()?)?;
        let is_time = |name: &String| name.ends_with(".momentum.time");
        Ok(record.scalars().iter().filter(|(name, _)| is_time(name)).map(|(_, value)| *value).collect())
    };
    let linear = new();
    let id = linear.weight.id.val();
    let moment = |state: &str| {
        let bytes = Bytes::from_elems(vec![0.5_f32; 6]);
        burn_pack::Tensor::new(format!("{id}.momentum.{state}"), DType::F32, [2, 3], Some(id), bytes)
    };
    let steps = Scalar::UInt((1 << 24) + 3);
    let record = Writer::new(vec![moment("moment_1"), moment("moment_2")])
        .with_scalar(&format!("{id}.momentum.time"), steps)
        .with_scalar(&format!("{id}.__rank"), Scalar::UInt(2))
        .with_metadata(&id.to_string(), "weight");
    let optimizer = adamw().load_record(OptimizerRecord::from_bytes(record.into_bytes()?)?);
    let mut saved = TrainingState::new(linear, optimizer);
    assert_eq!(time_of(&mut saved)?, [steps]);
    let bytes = encode(&mut saved)?;
    let mut loaded = TrainingState::new(new(), adamw());
    checkpoint::load(&bytes, &mut loaded, None)?;
    assert_eq!(time_of(&mut loaded)?, [steps]);
    Ok(())
}

/// A module with one parameter less than [`Linear`].
#[derive(Module, Debug)]
struct WeightOnly {
    weight: Param<Tensor<2>>,
}

#[test]
fn checkpoint_of_a_module_with_more_parameters_is_rejected() -> TestResult {
    let mut saved = TrainingState::new(LinearConfig::new(2, 3).init(&device()), adamw());
    let bytes = encode(&mut saved)?;
    let module = WeightOnly { weight: Param::from_data([[1.0; 3]; 2], &device()) };
    let mut loaded = TrainingState::new(module, adamw());
    let before = bits(&mut loaded)?;
    // Tensors 0 to 2 are the weight and its moments. Tensor 3 contains the numbers of steps of all parameters.
    let error = checkpoint::load(&bytes, &mut loaded, None);
    assert_eq!(error, Err(DecodeError::Shape { name: "steps".into(), dimension: 0, expected: 1, found: 2 }));
    assert_eq!(bits(&mut loaded)?, before);
    Ok(())
}
