//! A burn module and its optimizer as the objects of a checkpoint.

use crate::adamw::AdamWState;
use crate::tensors::{NamedTensors, Unavailable};
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::RecordError;
use training_monitor::checkpoint::{ObjectVisitor, Objects, TensorUnavailable};

/// A module and its optimizer, which must be Adam or AdamW without AMSGrad.
///
/// A save or a load first copies all tensors. The next call of [`module`](Self::module) or [`step`](Self::step) writes
/// the copies back, because it is unknown whether a checkpoint was loaded into them. Between a save and that call, the
/// tensors are in memory twice.
///
/// Every parameter and buffer of the module must be an f32 tensor with a path of 1 to 32 bytes. Otherwise saving and
/// loading fail with `TensorUnavailable`, and [`unavailable`](Self::unavailable) returns the tensor and the reason.
pub struct TrainingState<M> {
    module: M,
    optimizer: ModuleOptimizer,
    /// The copies of all tensors that the last save or load used. `None` after they were written back to the module and
    /// the optimizer.
    copies: Option<Copies>,
    unavailable: Option<Unavailable>,
}

struct Copies {
    model: NamedTensors,
    adamw: AdamWState,
}

impl<M: Module> TrainingState<M> {
    /// Combines `module` and `optimizer`, so that one checkpoint contains the state of both.
    pub const fn new(module: M, optimizer: ModuleOptimizer) -> Self {
        TrainingState { module, optimizer, copies: None, unavailable: None }
    }

    /// Returns the module. If a checkpoint was loaded, the module has the weights of the checkpoint.
    ///
    /// # Errors
    /// Returns burn's error if burn rejects the state of the optimizer.
    pub fn module(&mut self) -> Result<&M, RecordError> {
        self.write_back()?;
        Ok(&self.module)
    }

    /// Updates the module with the gradients that [`module`](Self::module) has computed.
    ///
    /// # Errors
    /// Returns burn's error if burn rejects the state of the optimizer.
    pub fn step(&mut self, learning_rate: f64, gradients: GradientsParams) -> Result<(), RecordError> {
        self.write_back()?;
        self.module = self.optimizer.step(learning_rate, self.module.clone(), gradients);
        Ok(())
    }

    /// Returns the optimizer. If a checkpoint was loaded, the optimizer has the moments (the averages of the gradients
    /// and of their squares) of the checkpoint.
    ///
    /// # Errors
    /// Returns burn's error if burn rejects the state of the optimizer.
    pub fn optimizer(&mut self) -> Result<&ModuleOptimizer, RecordError> {
        self.write_back()?;
        Ok(&self.optimizer)
    }

    /// Returns why the last save or load returned `TensorUnavailable`. Returns `None` if all tensors were available.
    #[must_use]
    pub const fn unavailable(&self) -> Option<&Unavailable> {
        self.unavailable.as_ref()
    }

    fn write_back(&mut self) -> Result<(), RecordError> {
        if let Some(copies) = &self.copies {
            self.optimizer = copies.adamw.copy_to(&self.optimizer)?;
            self.module = copies.model.copy_to(self.module.clone());
            self.copies = None;
        }
        Ok(())
    }
}

impl Copies {
    fn copy_from<M: Module>(module: &M, optimizer: &ModuleOptimizer) -> Result<Self, Unavailable> {
        let model = NamedTensors::copy_from(module)?;
        let adamw = AdamWState::copy_from(optimizer, &model)?;
        Ok(Copies { model, adamw })
    }
}

impl<M: Module> Objects for TrainingState<M> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.unavailable = None;
        let copies = match &mut self.copies {
            Some(copies) => copies,
            None => match Copies::copy_from(&self.module, &self.optimizer) {
                Ok(copies) => self.copies.insert(copies),
                Err(unavailable) => {
                    self.unavailable = Some(unavailable);
                    return Err(TensorUnavailable.into());
                }
            },
        };
        visitor.state_dict("model", &mut copies.model)?;
        copies.adamw.objects(visitor)
    }
}
