//! Copies of the tensors of a burn module as a state dict.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use std::fmt;
use training_monitor::checkpoint::{MAX_NAME, MAX_RANK, StateDict, TensorView, TensorVisitor};

/// A copy of one tensor.
#[derive(Clone, PartialEq, Debug)]
pub struct NamedTensor {
    /// The path of the parameter in the module, such as "hidden.weight".
    pub name: String,
    /// burn's identifier of the parameter. It is random, so it differs after a restart.
    pub id: u64,
    /// The dimensions of the tensor.
    pub shape: Vec<u32>,
    /// The elements of the tensor in row-major order.
    pub elements: Vec<f32>,
}

/// Copies of the tensors of a module, sorted by name.
///
/// burn does not give access to the elements of a tensor by reference. Therefore a checkpoint is written from copies
/// and loaded into copies.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NamedTensors(pub Vec<NamedTensor>);

impl NamedTensors {
    /// Copies all parameters and buffers of `module`.
    ///
    /// # Errors
    /// [`Unavailable`] if a checkpoint cannot contain a tensor of the module.
    pub fn copy_from<M: Module>(module: &M) -> Result<Self, Unavailable> {
        // burn keeps the newest update of running statistics (batch normalization) outside of the visible tensors until
        // the next forward pass. The method `valid` applies this update. The result of `valid`, a module for inference,
        // is not needed.
        drop(module.valid());
        let mut copier = TensorCopier { path: Vec::new(), tensors: Vec::new(), unavailable: None };
        module.visit(&mut copier);
        match copier.unavailable {
            Some(unavailable) => Err(unavailable),
            None if copier.tensors.is_empty() => {
                Err(Unavailable { tensor: String::new(), reason: Reason::NoParameters })
            }
            None => {
                copier.tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                Ok(NamedTensors(copier.tensors))
            }
        }
    }

    /// Returns `module` with the elements of the copies, which [`copy_from`](Self::copy_from) created from the same
    /// module. Identifiers, devices and gradient settings of the parameters do not change.
    pub fn copy_to<M: Module>(&self, module: M) -> M {
        module.map(&mut TensorReplacer { tensors: self })
    }

    /// Returns the copy of the parameter with burn's identifier `id`.
    pub fn by_id_mut(&mut self, id: u64) -> Option<&mut NamedTensor> {
        self.0.iter_mut().find(|tensor| tensor.id == id)
    }

    /// Returns tensors with the names, identifiers and shapes of these copies. All elements are 0.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        let mut zeros = self.clone();
        zeros.0.iter_mut().for_each(|tensor| tensor.elements.fill(0.0));
        zeros
    }
}

impl StateDict for NamedTensors {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.0.iter_mut().try_for_each(|tensor| {
            visitor.visit_tensor(&tensor.name, TensorView::new(&tensor.shape, &mut tensor.elements))
        })
    }
}

/// A visitor that copies the tensors of a module.
struct TensorCopier {
    path: Vec<String>,
    tensors: Vec<NamedTensor>,
    /// The first tensor that a checkpoint cannot contain.
    unavailable: Option<Unavailable>,
}

impl TensorCopier {
    fn visit(&mut self, id: ParamId, data: TensorData) {
        if self.unavailable.is_some() {
            return;
        }
        let name = self.path.join(".");
        match copy(&name, id, data) {
            Ok(tensor) => self.tensors.push(tensor),
            Err(reason) => self.unavailable = Some(Unavailable { tensor: name, reason }),
        }
    }
}

fn copy(name: &str, id: ParamId, data: TensorData) -> Result<NamedTensor, Reason> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Reason::NameLength(name.len()));
    }
    if data.shape().rank() > MAX_RANK {
        return Err(Reason::Rank(data.shape().rank()));
    }
    let dimension = |side: &usize| u32::try_from(*side).map_err(|_| Reason::Dimension(*side));
    let shape = data.shape().iter().map(dimension).collect::<Result<_, _>>()?;
    let dtype = data.dtype();
    let elements = data.try_into_vec::<f32>().map_err(|_| Reason::DType(dtype))?;
    Ok(NamedTensor { name: name.to_owned(), id: id.val(), shape, elements })
}

impl ModuleVisitor for TensorCopier {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.visit(param.id, param.base().into_data());
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.visit(param.id, param.base().into_data());
    }
    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.visit(param.id, param.base().into_data());
    }
}

/// A mapper that replaces the tensors of a module by the copies with the same identifiers.
struct TensorReplacer<'a> {
    tensors: &'a NamedTensors,
}

impl ModuleMapper for TensorReplacer<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id.val();
        let Some(copy) = self.tensors.0.iter().find(|tensor| tensor.id == id) else { return param };
        let device = param.lazy_device();
        param.map(|tensor| {
            let data = TensorData::new(copy.elements.clone(), tensor.shape());
            Tensor::from_data(data, (&device, DType::F32)).set_require_grad(tensor.is_require_grad())
        })
    }
}

/// A tensor that cannot be part of a checkpoint.
#[derive(Clone, PartialEq, Debug)]
pub struct Unavailable {
    /// The path of the tensor in the module, or the name of a part of the optimizer's state. Empty for
    /// [`Reason::NoParameters`].
    pub tensor: String,
    /// Why the tensor cannot be saved or loaded.
    pub reason: Reason,
}

/// Why a tensor cannot be part of a checkpoint.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The module has no tensors.
    NoParameters,
    /// The length of the path in bytes, which is not between 1 and 255.
    NameLength(usize),
    /// The element type, which is not f32.
    DType(DType),
    /// The number of dimensions, which is larger than 6.
    Rank(usize),
    /// A dimension, which is larger than 2^32 - 1.
    Dimension(usize),
    /// A part of the optimizer's state that is not a part of AdamW's state.
    OptimizerState,
    /// burn's message about a record of the optimizer.
    OptimizerRecord(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tensor = &self.tensor;
        match &self.reason {
            Reason::NoParameters => f.write_str("the module has no tensors"),
            Reason::NameLength(len) => {
                write!(f, "the path of tensor `{tensor}` has {len} bytes; a checkpoint allows 1 to {MAX_NAME} bytes")
            }
            Reason::DType(dtype) => {
                write!(f, "tensor `{tensor}` has elements of type {dtype:?}; this example saves f32 tensors only")
            }
            Reason::Rank(rank) => {
                write!(f, "tensor `{tensor}` has {rank} dimensions; a checkpoint allows at most {MAX_RANK}")
            }
            Reason::Dimension(side) => {
                write!(f, "tensor `{tensor}` has a dimension of {side}; a checkpoint allows at most 2^32 - 1")
            }
            Reason::OptimizerState => {
                write!(f, "the optimizer has the state `{tensor}`; only Adam and AdamW without AMSGrad are supported")
            }
            Reason::OptimizerRecord(message) => {
                write!(f, "the state `{tensor}` of the optimizer is not accessible: {message}")
            }
        }
    }
}

impl std::error::Error for Unavailable {}
