//! Finds what a stream holds among the user's objects, by name, and loads it there.

use super::Checksum;
use super::error::DecodeError;
use super::input::Input;
use super::objects::{StateDict, VisitMut, VisitTensorsMut};
use embedded_io::Read;
use serde::de::DeserializeOwned;

/// Bytes that strings and byte arrays of a [value](VisitMut::value) may have together.
const ARENA: usize = 64;

/// The part of the stream that is being looked for among the user's objects.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub object: &'a str,
    /// `None`: the whole value.
    pub tensor: Option<&'a str>,
    pub bytes: u32,
}

/// Goes through the user's objects for the one that is wanted, and loads it.
pub(super) struct Search<'b, 'a, R: Read, C> {
    wanted: Wanted<'b>,
    input: &'b mut Input<'a, R, C>,
    loading: bool,
    /// The number of the next tensor or value, in the order of the visit.
    next: u32,
    /// Whether the object under way is the one.
    here: bool,
    /// Which tensor or value it was.
    pub hit: Option<u32>,
}

impl<'b, 'a, R: Read, C: Checksum> Search<'b, 'a, R, C> {
    /// A search that loads what it finds, or only checks it.
    pub fn new(wanted: Wanted<'b>, input: &'b mut Input<'a, R, C>, loading: bool) -> Self {
        Search { wanted, input, loading, next: 0, here: false, hit: None }
    }
}

impl<R: Read, C: Checksum> VisitMut for Search<'_, '_, R, C> {
    type Error = DecodeError<R::Error>;

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &mut D) -> Result<(), Self::Error> {
        self.here = self.wanted.tensor.is_some() && self.wanted.object == name;
        object.tensors_mut(self)
    }

    fn value<S: DeserializeOwned>(&mut self, name: &str, object: &mut S) -> Result<(), Self::Error> {
        let item = self.next;
        self.next = item.saturating_add(1);
        if self.wanted.tensor.is_some() || self.wanted.object != name || self.hit.is_some() {
            return Ok(());
        }
        self.hit = Some(item);
        let value = self.input.value(Some(self.wanted.bytes), &mut [0; ARENA])?;
        if self.loading {
            *object = value;
        }
        Ok(())
    }
}

impl<R: Read, C: Checksum> VisitTensorsMut for Search<'_, '_, R, C> {
    type Error = DecodeError<R::Error>;

    fn tensor(&mut self, name: &str, elements: &mut [f32]) -> Result<(), Self::Error> {
        let item = self.next;
        self.next = item.saturating_add(1);
        if !self.here || self.wanted.tensor != Some(name) || self.hit.is_some() {
            return Ok(());
        }
        self.hit = Some(item);
        let found = self.wanted.bytes / 4;
        if found as usize != elements.len() {
            let expected = u32::try_from(elements.len()).unwrap_or(u32::MAX);
            return Err(DecodeError::Length { item, expected, found });
        }
        if self.loading { self.input.floats(elements) } else { Ok(()) }
    }
}

/// Counts the user's tensors and values.
pub(super) struct Count(pub u32);

impl VisitMut for Count {
    type Error = core::convert::Infallible;

    fn state_dict<D: StateDict + ?Sized>(&mut self, _: &str, object: &mut D) -> Result<(), Self::Error> {
        object.tensors_mut(self)
    }
    fn value<S: DeserializeOwned>(&mut self, _: &str, _: &mut S) -> Result<(), Self::Error> {
        self.0 = self.0.saturating_add(1);
        Ok(())
    }
}

impl VisitTensorsMut for Count {
    type Error = core::convert::Infallible;

    fn tensor(&mut self, _: &str, _: &mut [f32]) -> Result<(), Self::Error> {
        self.0 = self.0.saturating_add(1);
        Ok(())
    }
}
