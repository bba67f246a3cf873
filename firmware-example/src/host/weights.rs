//! The weights of a network as a checkpoint in memory. It contains the object `model`, without the optimizer and the
//! seed.

use super::network::Study;
use std::error::Error;
use training_monitor::checkpoint::{Checksum, Contents, Inspect, Tensor, encode, inspect, load, measure};
use training_monitor_std::Crc32Fast;

/// Returns the weights of the network as a checkpoint.
///
/// # Errors
/// Returns the error of the encoder.
pub fn to_checkpoint(study: &mut Study) -> Result<Vec<u8>, Box<dyn Error>> {
    // A diverged network is returned, too.
    let contents = Contents { allow_non_finite: true, ..Contents::new(1) };
    let len = measure(&contents, &mut study.model())?;
    let mut bytes = vec![0; len as usize];
    encode(&mut &mut bytes[..], &contents, &mut study.model())?;
    Ok(bytes)
}

/// Loads the weights of a network from a checkpoint, which must contain every tensor of the model and no other one in its
/// object `model`. Returns their CRC-32. Other objects of the checkpoint are ignored.
///
/// # Errors
/// Returns an error that names the tensor if it is missing, unknown, or has another shape or type. The network has not
/// changed in this case.
pub fn from_checkpoint(study: &mut Study, bytes: &[u8]) -> Result<u32, Box<dyn Error>> {
    load(bytes, &mut study.model(), None)?;
    let bytes = to_checkpoint(study)?;
    let mut crc = TensorCrc::default();
    inspect(&mut &bytes[..], &mut [0; 512], &mut crc)?;
    Ok(crc.0.value())
}

/// The CRC-32 of the names and the little-endian elements of all tensors, in the order of the model.
#[derive(Default)]
struct TensorCrc(Crc32Fast);

impl Inspect for TensorCrc {
    fn tensor(&mut self, tensor: Tensor<'_>) {
        self.0.update(tensor.name.as_bytes());
    }
    fn payload(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}
