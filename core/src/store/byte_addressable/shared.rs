//! Lets several stores use one memory driver, and lets a program keep its driver while a store uses it.

use core::cell::RefCell;
use embedded_storage::{ReadStorage, Storage};

/// A reference to a memory driver that several stores share. For example, one store keeps the best checkpoints, and
/// another one keeps the latest. Each store has its own region of the memory and its own copy of this reference. The
/// regions must not overlap. This is not checked: a store knows only its own region. The example
/// of the [module](super) uses this type for one store.
#[derive(Debug)]
pub struct SharedStorage<'a, S>(
    /// The memory driver that the stores share.
    pub &'a RefCell<S>,
);

impl<S> Clone for SharedStorage<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for SharedStorage<'_, S> {}

/// An error of a [`SharedStorage`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SharedStorageError<E> {
    /// The error that the memory driver returned.
    Memory(E),
    /// Other code is using the driver. This can happen if an interrupt handler accesses the memory while the main
    /// program accesses it.
    InUse,
}

impl<S: ReadStorage> ReadStorage for SharedStorage<'_, S> {
    type Error = SharedStorageError<S::Error>;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let mut storage = self.0.try_borrow_mut().map_err(|_| SharedStorageError::InUse)?;
        storage.read(offset, bytes).map_err(SharedStorageError::Memory)
    }

    fn capacity(&self) -> usize {
        self.0.try_borrow().map_or(0, |storage| storage.capacity())
    }
}

impl<S: Storage> Storage for SharedStorage<'_, S> {
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let mut storage = self.0.try_borrow_mut().map_err(|_| SharedStorageError::InUse)?;
        storage.write(offset, bytes).map_err(SharedStorageError::Memory)
    }
}
