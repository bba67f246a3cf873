//! Tensors that a checkpoint cannot contain: saving and loading fail with an error that names the tensor and the
//! reason.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use std::error::Error;
use training_monitor::checkpoint::{self, Contents, DecodeError, EncodeError, Named};
use training_monitor::event::IterationCompleted;
use training_monitor::store::ram::Ram;
use training_monitor::{Engine, ModelCheckpoint, RunError};
use training_monitor_candle_example::{Reason, VarMapState};

type TestResult = Result<(), Box<dyn Error>>;

/// A `VarMap` with one variable.
fn one_variable(name: &str, variable: Var) -> VarMap {
    let variables = VarMap::new();
    variables.data().lock().expect("no thread panicked").insert(name.to_owned(), variable);
    variables
}

fn f32_variable() -> candle_core::Result<Var> {
    Var::from_tensor(&Tensor::new(&[1.0_f32, 2.0, 3.0], &Device::Cpu)?)
}

/// Saves `variables` in a run, and asserts that the save fails. Returns the reason and the message for the user.
fn save_failure(variables: VarMap) -> (Reason, String) {
    let mut model = Named::new("model", VarMapState::new(variables));
    let attached = ModelCheckpoint::<1>::every(1).map(|policy| policy.attach(IterationCompleted, Ram::<2, 512>::new()));
    let Ok(Ok(mut checkpoint)) = attached else { panic!("the settings are valid") };
    let run = Engine::new(1).run(&mut model, 0..1, &mut checkpoint, |_, _, _| ());
    // The run checks before its first event whether the model can be saved.
    assert!(matches!(run, Err(RunError::Start(EncodeError::Unavailable))), "{run:?}");
    let unavailable = model.unavailable().expect("the save failed");
    (unavailable.reason.clone(), unavailable.to_string())
}

/// Saves `variables` and returns the checkpoint.
fn encode(variables: VarMap) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut model = Named::new("model", VarMapState::new(variables));
    let mut bytes = [0; 512];
    let mut rest = &mut bytes[..];
    let encoded = checkpoint::encode(&mut rest, &Contents::new(1), &mut model)?;
    assert_eq!(model.unavailable(), None);
    Ok(bytes[..encoded.len as usize].to_vec())
}

#[test]
fn name_of_33_bytes_is_unavailable() -> TestResult {
    let name = "n".repeat(33);
    let (reason, message) = save_failure(one_variable(&name, f32_variable()?));
    assert_eq!(reason, Reason::NameLength(33));
    let expected = format!("the name of tensor `{name}` has 33 bytes; a checkpoint allows 1 to 32 bytes");
    assert_eq!(message, expected);
    Ok(())
}

#[test]
fn name_of_32_bytes_is_saved_and_loaded() -> TestResult {
    let name = "n".repeat(32);
    let bytes = encode(one_variable(&name, f32_variable()?))?;
    let variable = Var::zeros(3, DType::F32, &Device::Cpu)?;
    let mut model = Named::new("model", VarMapState::new(one_variable(&name, variable.clone())));
    checkpoint::load(&bytes, &mut model, None)?;
    assert_eq!(variable.to_vec1::<f32>()?, [1.0, 2.0, 3.0]);
    Ok(())
}

#[test]
fn tensors_of_other_types_are_unavailable() -> TestResult {
    for dtype in [DType::F64, DType::F16, DType::BF16, DType::U32, DType::I64, DType::U8] {
        let variable = Var::zeros((2, 3), dtype, &Device::Cpu)?;
        let (reason, message) = save_failure(one_variable("layer.weight", variable));
        assert_eq!(reason, Reason::DType(dtype));
        let expected =
            format!("tensor `layer.weight` has elements of type {dtype:?}; a checkpoint contains f32 tensors only");
        assert_eq!(message, expected);
    }
    Ok(())
}

#[test]
fn tensor_of_7_dimensions_is_unavailable() -> TestResult {
    let variable = Var::zeros(vec![1; 7], DType::F32, &Device::Cpu)?;
    let (reason, message) = save_failure(one_variable("weight", variable));
    assert_eq!(reason, Reason::Rank(7));
    assert_eq!(message, "tensor `weight` has 7 dimensions; a checkpoint allows at most 6");
    Ok(())
}

#[test]
fn empty_var_map_is_unavailable() {
    let (reason, message) = save_failure(VarMap::new());
    assert_eq!(reason, Reason::NoVariables);
    assert_eq!(message, "the VarMap has no variables; build the model before saving or loading a checkpoint");
}

#[test]
fn load_into_unavailable_tensor_fails_and_changes_nothing() -> TestResult {
    let bytes = encode(one_variable("weight", f32_variable()?))?;
    let variables = one_variable("bias", f32_variable()?);
    let weight = Var::zeros(3, DType::F64, &Device::Cpu)?;
    variables.data().lock().expect("no thread panicked").insert("weight".to_owned(), weight.clone());
    let mut model = Named::new("model", VarMapState::new(variables));
    assert_eq!(checkpoint::load(&bytes, &mut model, None), Err(DecodeError::Unavailable));
    assert_eq!(model.unavailable().map(|unavailable| unavailable.reason.clone()), Some(Reason::DType(DType::F64)));
    assert_eq!(weight.to_vec1::<f64>()?, [0.0; 3]);
    Ok(())
}

#[test]
fn load_of_a_tensor_with_another_length_fails() -> TestResult {
    let bytes = encode(one_variable("weight", f32_variable()?))?;
    let variable = Var::zeros(4, DType::F32, &Device::Cpu)?;
    let mut model = Named::new("model", VarMapState::new(one_variable("weight", variable)));
    let error = checkpoint::load(&bytes, &mut model, None);
    assert_eq!(error, Err(DecodeError::Shape { name: "weight".into(), dimension: 0, expected: 4, found: 3 }));
    Ok(())
}

#[test]
fn transposed_tensor_is_saved_in_row_major_order() -> TestResult {
    let matrix = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    let bytes = encode(one_variable("weight", Var::from_tensor(&matrix.t()?)?))?;
    let variable = Var::zeros((2, 2), DType::F32, &Device::Cpu)?;
    let mut model = Named::new("model", VarMapState::new(one_variable("weight", variable.clone())));
    checkpoint::load(&bytes, &mut model, None)?;
    assert_eq!(variable.to_vec2::<f32>()?, [[1.0, 3.0], [2.0, 4.0]]);
    Ok(())
}
