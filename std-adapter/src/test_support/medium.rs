//! The media on which the checks of this module open a store.

use core::fmt;
use training_monitor::store::Store;

/// A medium on which a store can be opened repeatedly, as after each reset of a device. Implement this trait to check
/// your own store with [`check_store`](super::check_store).
///
/// ```
/// use core::convert::Infallible;
/// use training_monitor::store::{flash::{RegionError, Slots}, ram::Ram};
/// use training_monitor_std::test_support::{Medium, flash::Flash};
///
/// // The store borrows a driver, which keeps the data.
/// struct Device(Flash<8, 256>);
///
/// impl Medium for Device {
///     type Store<'a> = Slots<&'a mut Flash<8, 256>, 3>;
///     type OpenError = RegionError;
///     fn open(&mut self) -> Result<Self::Store<'_>, RegionError> {
///         Slots::open(&mut self.0, 0..1536)
///     }
/// }
///
/// // The store itself keeps the data.
/// struct BatteryBacked(Ram<3, 256>);
///
/// impl Medium for BatteryBacked {
///     type Store<'a> = &'a mut Ram<3, 256>;
///     type OpenError = Infallible;
///     fn open(&mut self) -> Result<Self::Store<'_>, Infallible> {
///         Ok(&mut self.0)
///     }
/// }
/// ```
pub trait Medium {
    /// The store.
    type Store<'a>: Store
    where
        Self: 'a;
    /// The error of opening the store.
    type OpenError: fmt::Display;

    /// Whether a commit of an incomplete checkpoint is an error: fewer bytes were written than announced, a stream is
    /// missing, or the length in [`Encoded`](training_monitor::checkpoint::Encoded) is wrong. Set this constant to false
    /// if your store does not detect this mistake of the caller. A
    /// [`CheckpointHandler`](training_monitor::handlers::model_checkpoint::CheckpointHandler) never makes it.
    const DETECTS_INCOMPLETE: bool = true;

    /// Opens the store with the data that the medium contains. Each call must read the medium again, as a program does
    /// after a reset.
    ///
    /// # Errors
    /// Returns the error of the store. The checks report it as a violation, unless the power is off.
    fn open(&mut self) -> Result<Self::Store<'_>, Self::OpenError>;
}

/// A medium whose power can fail. Implement this trait to check your own store with
/// [`judge_power_failures`](super::judge_power_failures).
///
/// An operation is a change of the medium, for example the programming of a write granule, the erase of a block or the
/// renaming of a file. Reads are not operations.
pub trait PowerMedium: Medium {
    /// Returns the number of operations since the creation of the medium. An interrupted operation counts, an operation
    /// after the power failure does not.
    fn operations(&self) -> u64;

    /// Makes the power fail during the operation that is performed when [`operations`](Self::operations) returns
    /// `operation`. This operation returns an error, and so do all later ones. `seed` selects the effect of the power
    /// failure on the medium, for example which bits are changed. The same seed always has the same effect.
    fn cut_power_at(&mut self, operation: u64, seed: u64);

    /// Switches the power on again. Cancels a power failure that has not happened. RAM has lost its content, so only the
    /// next [`open`](Medium::open) shows what the medium contains.
    fn restore_power(&mut self);

    /// Returns whether the medium contains bits that have a random value in each read, as after an interrupted write to
    /// flash. The judge then tolerates that an interrupted checkpoint is listed but damaged. The default returns false.
    fn is_unstable(&self) -> bool {
        false
    }
}
