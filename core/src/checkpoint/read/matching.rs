//! Searches the user's objects for a tensor or value with a given name, and loads it from a stream.

use super::decoder::TensorHeader;
use super::input::Input;
use super::value::read_value;
use crate::checkpoint::element::Memory;
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::names::ItemName;
use crate::checkpoint::objects::{ObjectVisitor, Objects, StateDict, TensorVisitor};
use crate::checkpoint::{TensorUnavailable, TensorView};
use serde::{Serialize, de::DeserializeOwned};

/// A tensor or value of the stream. The user's objects are searched for a tensor or value of the same name.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub object: &'a [u8],
    /// The tensor in the stream; `None` for a value.
    pub tensor: Option<TensorHeader<'a>>,
    pub bytes: u32,
}

/// What the user's objects contain of a tensor or value of the stream.
pub(super) enum Match {
    /// Neither the object nor the tensor.
    Nothing,
    /// A state dict with the name of the object, but not the tensor.
    OnlyObject,
    /// The tensor or value with this index among all listed tensors and values.
    Item(u32),
}

/// A visitor that searches the user's objects for a tensor or value, and loads it from the stream.
#[derive(Default)]
struct Search<'b, 'a> {
    /// The tensor or value to search for, and the input that contains it. With `None`, the visitor only counts all
    /// tensors and values.
    target: Option<(Target<'b>, &'b mut Input<'a>)>,
    loading: bool,
    /// The index of the next tensor or value that is listed.
    next_index: u32,
    /// Whether the visitor is inside the object of the target.
    in_target_object: bool,
    /// Whether a state dict has the name of the object of the target.
    has_target_object: bool,
    /// The index of the tensor or value that matched the target.
    matched_index: Option<u32>,
}

/// Searches `objects` for `target`. A value is always read from `input`, because reading is the only way to check it. A
/// tensor is read only if `loading` is true.
pub(super) fn find<T: Objects + ?Sized>(
    objects: &mut T,
    target: Target<'_>,
    input: &mut Input<'_>,
    loading: bool,
) -> Match {
    let mut search = Search { target: Some((target, input)), loading, ..Search::default() };
    let result = objects.objects(&mut search);
    let found = match search.matched_index {
        Some(item) => Match::Item(item),
        None if search.has_target_object => Match::OnlyObject,
        None => Match::Nothing,
    };
    if result.is_err() {
        // If no other error is recorded, the objects stopped the search because they cannot access a tensor. An error
        // that is already recorded stays unchanged.
        input.fail(DecodeError::Unavailable);
    }
    found
}

/// Returns the number of tensors and values of `objects`.
pub(super) fn count<T: Objects + ?Sized>(objects: &mut T) -> Result<u32, TensorUnavailable> {
    let mut search = Search::default();
    objects.objects(&mut search).map_err(|_| TensorUnavailable)?;
    Ok(search.next_index)
}

/// The error that makes a state dict stop listing its tensors. The actual error is stored in the input.
struct Stop;

impl From<TensorUnavailable> for Stop {
    fn from(_: TensorUnavailable) -> Self {
        Stop
    }
}

impl Search<'_, '_> {
    /// Counts a tensor or value and returns its index.
    fn next_item(&mut self) -> u32 {
        let item = self.next_index;
        self.next_index = item.saturating_add(1);
        item
    }

    /// Counts a tensor. Returns its index if it is the target.
    #[inline(always)]
    fn match_tensor(&mut self, name: &str) -> Option<u32> {
        let item = self.next_item();
        let (target, _) = self.target.as_ref()?;
        let is_target = target.tensor.is_some_and(|tensor| tensor.name.bytes() == name.as_bytes());
        if !self.in_target_object || !is_target || self.matched_index.is_some() {
            return None;
        }
        self.matched_index = Some(item);
        Some(item)
    }
}

impl ObjectVisitor for Search<'_, '_> {
    type Error = Stop;

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &mut D) -> Result<(), Stop> {
        let is_target = |(target, _): &(Target<'_>, _)| target.tensor.is_some() && target.object == name.as_bytes();
        self.in_target_object = self.target.as_ref().is_some_and(is_target);
        self.has_target_object |= self.in_target_object;
        object.tensors(self)
    }

    fn value_with<S: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        object: &mut S,
        scratch: &mut [u8],
    ) -> Result<(), Stop> {
        let item = self.next_item();
        let Some((target, input)) = &mut self.target else { return Ok(()) };
        if target.tensor.is_some() || target.object != name.as_bytes() || self.matched_index.is_some() {
            return Ok(());
        }
        self.matched_index = Some(item);
        let value = read_value(input, name, target.bytes, scratch).ok_or(Stop)?;
        if self.loading {
            *object = value;
        }
        Ok(())
    }
}

impl TensorVisitor for Search<'_, '_> {
    type Error = Stop;

    fn visit_tensor(&mut self, name: &str, tensor: TensorView<'_>) -> Result<(), Stop> {
        if self.match_tensor(name).is_none() {
            return Ok(());
        }
        let Some((Target { tensor: Some(found), .. }, input)) = &mut self.target else { return Ok(()) };
        let element_type = tensor.element_type();
        if tensor.is_read_only() {
            input.fail(DecodeError::ReadOnly { name: ItemName::new(name) });
        }
        if element_type != found.element_type {
            let (name, expected, found) = (ItemName::new(name), element_type, found.element_type);
            input.fail(DecodeError::ElementType { name, expected, found });
        }
        if tensor.shape() != found.shape {
            report_shapes(input, name, tensor.shape(), found.shape);
        }
        if self.loading && !input.has_failed() {
            match tensor.into_memory() {
                Memory::Bytes(bytes) => input.read_elements(bytes, element_type.size()),
                Memory::Bools(bools) => input.read_bools(bools),
                Memory::ReadOnly(_) => (),
            }
        }
        if input.has_failed() { Err(Stop) } else { Ok(()) }
    }
}

/// Reports that the shape `expected` of a tensor in the model is not the shape `found` in the checkpoint.
#[inline(never)]
fn report_shapes(input: &mut Input<'_>, name: &str, expected: &[u32], found: &[u32]) {
    let name = ItemName::new(name);
    let len = |shape: &[u32]| u32::try_from(shape.len()).unwrap_or(u32::MAX);
    let mut pairs = (0..).zip(expected.iter().copied().zip(found.iter().copied()));
    let different = pairs.find(|(_, (expected, found))| expected != found);
    input.fail(match different.filter(|_| expected.len() == found.len()) {
        Some((dimension, (expected, found))) => DecodeError::Shape { name, dimension, expected, found },
        None => DecodeError::Rank { name, expected: len(expected), found: len(found) },
    });
}

/// Returns the name of the tensor or value with the index `item` among all tensors and values of `objects`.
pub(super) fn name_of<T: Objects + ?Sized>(objects: &mut T, item: u32) -> ItemName {
    let mut visitor = NameOf { next: Some(item), name: ItemName::new("") };
    // Only a tensor that is not available causes an error. Its caller has already listed all tensors without an error.
    let _ = objects.objects(&mut visitor);
    visitor.name
}

/// A visitor that stores the name of the tensor or value after `next` others. `next` is `None` after that item.
struct NameOf {
    next: Option<u32>,
    name: ItemName,
}

impl NameOf {
    fn visit(&mut self, name: &str) {
        if self.next == Some(0) {
            self.name = ItemName::new(name);
        }
        self.next = self.next.and_then(|next| next.checked_sub(1));
    }
}

impl ObjectVisitor for NameOf {
    type Error = TensorUnavailable;

    fn state_dict<D: StateDict + ?Sized>(&mut self, _: &str, object: &mut D) -> Result<(), TensorUnavailable> {
        object.tensors(self)
    }
    fn value_with<S: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        _: &mut S,
        _: &mut [u8],
    ) -> Result<(), TensorUnavailable> {
        self.visit(name);
        Ok(())
    }
}

impl TensorVisitor for NameOf {
    type Error = TensorUnavailable;

    fn visit_tensor(&mut self, name: &str, _: TensorView<'_>) -> Result<(), TensorUnavailable> {
        self.visit(name);
        Ok(())
    }
}
