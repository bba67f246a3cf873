//! A candle `VarMap` as a state dict.

use candle_core::{CpuStorage, DType, DeviceLocation, InplaceOp1, Layout, Var};
use candle_nn::VarMap;
use std::cell::RefCell;
use std::fmt;
use std::sync::PoisonError;
use training_monitor::checkpoint::{MAX_NAME, MAX_RANK, StateDict, TensorUnavailable, TensorView, TensorVisitor};

/// The variables of a `VarMap`, sorted by name. Tensors are saved from candle's memory and loaded into it, without a
/// copy.
///
/// Every variable must be an f32 tensor on the CPU with a name of 1 to 255 bytes. Otherwise saving and loading fail with
/// `TensorUnavailable`, and [`unavailable`](Self::unavailable) returns the tensor and the reason.
///
/// Build the model before a checkpoint is loaded: candle adds a variable to a `VarMap` when a layer requests it, and a
/// checkpoint is loaded only into variables that exist.
pub struct VarMapState {
    variables: VarMap,
    unavailable: Option<Unavailable>,
}

impl VarMapState {
    /// Wraps `variables`. A clone of a `VarMap` refers to the same variables, so the program can keep a clone.
    #[must_use]
    pub const fn new(variables: VarMap) -> Self {
        VarMapState { variables, unavailable: None }
    }

    /// Returns the `VarMap` with the variables of the model.
    #[must_use]
    pub const fn variables(&self) -> &VarMap {
        &self.variables
    }

    /// Returns why the last save or load returned `TensorUnavailable`. Returns `None` if all tensors were available.
    #[must_use]
    pub const fn unavailable(&self) -> Option<&Unavailable> {
        self.unavailable.as_ref()
    }
}

impl StateDict for VarMapState {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let variables = self.variables.data().lock().unwrap_or_else(PoisonError::into_inner);
        // A `HashMap` has a different order in every process, and a state dict must list its tensors in one order.
        let mut sorted: Vec<_> = variables.iter().collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        self.unavailable = None;
        if sorted.is_empty() {
            let unavailable = Unavailable { tensor: String::new(), reason: Reason::NoVariables };
            self.unavailable = Some(unavailable);
            return Err(TensorUnavailable.into());
        }
        for (name, variable) in sorted {
            match lend(name, variable, visitor) {
                Ok(visited) => visited?,
                Err(reason) => {
                    self.unavailable = Some(Unavailable { tensor: name.clone(), reason });
                    return Err(TensorUnavailable.into());
                }
            }
        }
        Ok(())
    }
}

/// Passes one variable to `visitor`. The outer result contains the reason if the visitor cannot access the variable.
/// The inner result is the result of the visitor.
fn lend<V: TensorVisitor>(name: &str, variable: &Var, visitor: &mut V) -> Result<Result<(), V::Error>, Reason> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Reason::NameLength(name.len()));
    }
    if variable.dtype() != DType::F32 {
        return Err(Reason::DType(variable.dtype()));
    }
    let location = variable.device().location();
    if !matches!(location, DeviceLocation::Cpu) {
        return Err(Reason::Device(location));
    }
    if variable.rank() > MAX_RANK {
        return Err(Reason::Rank(variable.rank()));
    }
    let shape: Result<Vec<u32>, _> = variable.dims().iter().map(|side| u32::try_from(*side)).collect();
    let shape = shape.map_err(|_| Reason::Storage("a dimension is larger than 2^32 - 1".to_owned()))?;
    let mut visited = Ok(());
    let elements = Elements(RefCell::new(|elements: &mut [f32]| {
        visited = visitor.visit_tensor(name, TensorView::new(&shape, elements));
    }));
    variable.inplace_op1(&elements).map_err(|error| Reason::Storage(error.to_string()))?;
    Ok(visited)
}

/// A candle operation that passes the elements of a tensor to a function. An in-place operation is candle's only public
/// access to mutable elements.
struct Elements<F>(RefCell<F>);

impl<F: FnMut(&mut [f32])> InplaceOp1 for Elements<F> {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let range = layout.contiguous_offsets();
        let elements = match storage {
            CpuStorage::F32(elements) => range.and_then(|(start, end)| elements.get_mut(start..end)),
            _ => None,
        };
        let Some(elements) = elements else { candle_core::bail!("the tensor is not contiguous") };
        (self.0.borrow_mut())(elements);
        Ok(())
    }
}

/// A tensor that cannot be part of a checkpoint.
#[derive(Clone, PartialEq, Debug)]
pub struct Unavailable {
    /// The name of the tensor in the `VarMap`. Empty for [`Reason::NoVariables`].
    pub tensor: String,
    /// Why the tensor cannot be saved or loaded.
    pub reason: Reason,
}

/// Why a tensor cannot be part of a checkpoint.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The `VarMap` is empty, because the model is not built yet.
    NoVariables,
    /// The length of the name in bytes, which is not between 1 and 255.
    NameLength(usize),
    /// The element type, which is not f32.
    DType(DType),
    /// The device of the tensor, which is not the CPU.
    Device(DeviceLocation),
    /// The number of dimensions, which is larger than 6.
    Rank(usize),
    /// candle's message about the memory of the tensor.
    Storage(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tensor = &self.tensor;
        match &self.reason {
            Reason::NoVariables => {
                f.write_str("the VarMap has no variables; build the model before saving or loading a checkpoint")
            }
            Reason::NameLength(len) => {
                write!(f, "the name of tensor `{tensor}` has {len} bytes; a checkpoint allows 1 to {MAX_NAME} bytes")
            }
            Reason::DType(dtype) => {
                write!(f, "tensor `{tensor}` has elements of type {dtype:?}; this example saves f32 tensors only")
            }
            Reason::Device(device) => {
                write!(f, "tensor `{tensor}` is on device {device:?}; a checkpoint contains tensors on the CPU only")
            }
            Reason::Rank(rank) => {
                write!(f, "tensor `{tensor}` has {rank} dimensions; a checkpoint allows at most {MAX_RANK}")
            }
            Reason::Storage(message) => write!(f, "the elements of tensor `{tensor}` are not accessible: {message}"),
        }
    }
}

impl std::error::Error for Unavailable {}
