//! The optimizer AdamW with public access to its moments (the averages of the gradients and of their squares).

use crate::var_map_state::{Unavailable, VarMapState};
use candle_core::{Result, Tensor};
use candle_nn::{Init, ParamsAdamW, VarMap};
use std::sync::PoisonError;
use training_monitor::checkpoint::{ObjectVisitor, Objects};

/// The optimizer AdamW. It computes the same bits as `candle_nn::AdamW`, whose moments are private and therefore cannot
/// be saved.
///
/// As [`Objects`], it consists of three objects: one state dict for each kind of moment, with the tensor names of the
/// model, and the number of steps. One object for each kind keeps the names as short as those of the model.
pub struct AdamW {
    params: ParamsAdamW,
    variables: VarMap,
    first_moment: VarMapState,
    second_moment: VarMapState,
    steps: u32,
}

impl AdamW {
    /// Creates an optimizer for the variables that `variables` contains now. All moments are 0.
    ///
    /// # Errors
    /// candle's error if it cannot create a tensor.
    pub fn new(variables: &VarMap, params: ParamsAdamW) -> Result<Self> {
        Ok(AdamW {
            params,
            variables: variables.clone(),
            first_moment: VarMapState::new(zeros_like(variables)?),
            second_moment: VarMapState::new(zeros_like(variables)?),
            steps: 0,
        })
    }

    /// Computes the gradients of `loss` and updates the variables.
    ///
    /// # Errors
    /// candle's error.
    pub fn backward_step(&mut self, loss: &Tensor) -> Result<()> {
        let gradients = loss.backward()?;
        self.steps = self.steps.saturating_add(1);
        let ParamsAdamW { lr, beta1, beta2, eps, weight_decay } = self.params;
        let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let first_scale = 1.0 / (1.0 - beta1.powi(power));
        let second_scale = 1.0 / (1.0 - beta2.powi(power));
        let variables = self.variables.data().lock().unwrap_or_else(PoisonError::into_inner);
        let first_moments = self.first_moment.variables().data().lock().unwrap_or_else(PoisonError::into_inner);
        let second_moments = self.second_moment.variables().data().lock().unwrap_or_else(PoisonError::into_inner);
        for (name, variable) in variables.iter() {
            let Some(gradient) = gradients.get(variable) else { continue };
            let (Some(first), Some(second)) = (first_moments.get(name), second_moments.get(name)) else {
                candle_core::bail!("variable `{name}` was created after the optimizer");
            };
            // These are the same operations in the same order as in `candle_nn::AdamW`, so that the results have the
            // same bits.
            let next_first = ((first.as_tensor() * beta1)? + (gradient * (1.0 - beta1))?)?;
            let next_second = ((second.as_tensor() * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let first_estimate = (&next_first * first_scale)?;
            let second_estimate = (&next_second * second_scale)?;
            let decayed = (variable.as_tensor() * (1.0 - lr * weight_decay))?;
            let direction = (first_estimate / (second_estimate.sqrt()? + eps)?)?;
            let updated = (decayed - (direction * lr)?)?;
            first.set(&next_first)?;
            second.set(&next_second)?;
            variable.set(&updated)?;
        }
        Ok(())
    }

    /// Returns the first moments (the averages of the gradients), with the names of the variables.
    #[must_use]
    pub const fn first_moment(&self) -> &VarMap {
        self.first_moment.variables()
    }

    /// Returns the second moments (the averages of the squared gradients), with the names of the variables.
    #[must_use]
    pub const fn second_moment(&self) -> &VarMap {
        self.second_moment.variables()
    }

    /// The number of steps, from the first step of the training.
    #[must_use]
    pub const fn steps(&self) -> u32 {
        self.steps
    }

    /// Returns why the last save or load could not access a moment. `None` if all moments were available.
    #[must_use]
    pub fn unavailable(&self) -> Option<&Unavailable> {
        self.first_moment.unavailable().or(self.second_moment.unavailable())
    }
}

impl Objects for AdamW {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> std::result::Result<(), V::Error> {
        visitor.state_dict("adamw.first_moment", &mut self.first_moment)?;
        visitor.state_dict("adamw.second_moment", &mut self.second_moment)?;
        visitor.value("adamw.steps", &mut self.steps)
    }
}

/// Returns variables with the names, shapes, types and devices of `variables`, and all elements 0.
fn zeros_like(variables: &VarMap) -> Result<VarMap> {
    let zeros = VarMap::new();
    for (name, variable) in variables.data().lock().unwrap_or_else(PoisonError::into_inner).iter() {
        zeros.get(variable.shape(), name, Init::Const(0.0), variable.dtype(), variable.device())?;
    }
    Ok(zeros)
}
