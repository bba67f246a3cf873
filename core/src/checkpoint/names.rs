//! Counts and checks the objects of a checkpoint before a byte of it is written: names that a file can bear, shapes that
//! give the length of their tensor, numbers within bounds. It reads no element of any tensor.

use super::EncodeError;
use super::objects::{MAX_ITEMS, MAX_NAME, MAX_RANK, StateDict, Visit, VisitTensors};
use serde::Serialize;

/// What can be wrong with the names and numbers of the objects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bad {
    Name,
    Shape,
    TooMany,
}

impl Bad {
    pub fn into_error<E>(self) -> EncodeError<E> {
        match self {
            Bad::Name => EncodeError::Name,
            Bad::Shape => EncodeError::Shape,
            Bad::TooMany => EncodeError::TooManyItems,
        }
    }
}

fn name_is_good(name: &str) -> bool {
    let separators = |byte: u8| byte == b'/' || byte == b'\\' || byte < 0x20;
    !name.is_empty() && name.len() <= MAX_NAME && !name.bytes().any(separators)
}

/// Counts and checks the names of all objects, whether or not this stream holds them.
#[derive(Debug)]
pub(super) struct Names<'a> {
    only: Option<&'a str>,
    /// Objects of the checkpoint.
    pub objects: u32,
    /// Objects of the stream.
    pub chosen: u32,
    items: usize,
    /// What was wrong, where a visit ended early.
    pub error: Option<Bad>,
}

impl<'a> Names<'a> {
    /// For a stream of the object `only`, or of all.
    pub const fn new(only: Option<&'a str>) -> Self {
        Names { only, objects: 0, chosen: 0, items: 0, error: None }
    }

    fn object(&mut self, name: &str) -> Result<(), ()> {
        self.objects = self.objects.saturating_add(1);
        if self.only.is_none_or(|only| only == name) {
            self.chosen = self.chosen.saturating_add(1);
        }
        if name_is_good(name) { Ok(()) } else { self.bad(Bad::Name) }
    }

    fn item(&mut self) -> Result<(), ()> {
        self.items += 1;
        if self.items <= MAX_ITEMS { Ok(()) } else { self.bad(Bad::TooMany) }
    }

    fn bad(&mut self, bad: Bad) -> Result<(), ()> {
        self.error = Some(bad);
        Err(())
    }
}

impl Visit for Names<'_> {
    type Error = ();

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &D) -> Result<(), ()> {
        self.object(name)?;
        object.tensors(self)
    }
    fn value<S: Serialize + ?Sized>(&mut self, name: &str, _: &S) -> Result<(), ()> {
        self.object(name)?;
        self.item()
    }
}

impl VisitTensors for Names<'_> {
    type Error = ();

    fn tensor(&mut self, name: &str, shape: &[u32], elements: &[f32]) -> Result<(), ()> {
        let product = shape.iter().try_fold(1u32, |product, side| product.checked_mul(*side));
        if !name_is_good(name) {
            return self.bad(Bad::Name);
        }
        if shape.len() > MAX_RANK || product.is_none_or(|product| product as usize != elements.len()) {
            return self.bad(Bad::Shape);
        }
        self.item()
    }
}
