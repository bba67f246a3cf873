//! Finds what a stream holds among the user's objects, by name, and loads it there. The one visitor of a user's
//! objects on the way back, also to count them.

use super::error::DecodeError;
use super::input::Input;
use super::objects::{Objects, StateDict, VisitMut, VisitTensorsMut};
use serde::de::DeserializeOwned;

/// Bytes that strings and byte arrays of a [value](VisitMut::value) may have together.
const ARENA: usize = 64;

/// The part of the stream that is being looked for among the user's objects.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub object: &'a [u8],
    /// `None`: the whole value.
    pub tensor: Option<&'a [u8]>,
    pub bytes: u32,
}

/// Goes through the user's objects for the one that is wanted, and loads it.
struct Search<'b, 'a> {
    /// `None` only counts.
    wanted: Option<(Wanted<'b>, &'b mut Input<'a>)>,
    loading: bool,
    /// The number of the next tensor or value, in the order of the visit.
    next: u32,
    /// Whether the object under way is the one.
    here: bool,
    /// Which tensor or value it was.
    hit: Option<u32>,
}

/// Takes what is `wanted` from the input, if it is one of the `objects`, and loads it if `loading`. Which tensor or value
/// it is, in the order of the visit. A tensor is left in the input unless it was loaded.
pub(super) fn find<T: Objects + ?Sized>(
    objects: &mut T,
    wanted: Wanted<'_>,
    input: &mut Input<'_>,
    loading: bool,
) -> Option<u32> {
    let mut search = Search { wanted: Some((wanted, input)), loading, next: 0, here: false, hit: None };
    // What was wrong is in the input.
    let _ = objects.objects_mut(&mut search);
    search.hit
}

/// How many tensors and values the `objects` have.
pub(super) fn count<T: Objects + ?Sized>(objects: &mut T) -> u32 {
    let mut search = Search { wanted: None, loading: false, next: 0, here: false, hit: None };
    let _ = objects.objects_mut(&mut search);
    search.next
}

impl Search<'_, '_> {
    /// Counts an item; its number.
    fn item(&mut self) -> u32 {
        let item = self.next;
        self.next = item.saturating_add(1);
        item
    }
}

impl VisitMut for Search<'_, '_> {
    type Error = ();

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &mut D) -> Result<(), ()> {
        let is_here = |(wanted, _): &(Wanted<'_>, _)| wanted.tensor.is_some() && wanted.object == name.as_bytes();
        self.here = self.wanted.as_ref().is_some_and(is_here);
        object.tensors_mut(self)
    }

    fn value<S: DeserializeOwned>(&mut self, name: &str, object: &mut S) -> Result<(), ()> {
        let item = self.item();
        let Some((wanted, input)) = &mut self.wanted else { return Ok(()) };
        if wanted.tensor.is_some() || wanted.object != name.as_bytes() || self.hit.is_some() {
            return Ok(());
        }
        self.hit = Some(item);
        let value = input.value(wanted.bytes, &mut [0; ARENA]).ok_or(())?;
        if self.loading {
            *object = value;
        }
        Ok(())
    }
}

impl VisitTensorsMut for Search<'_, '_> {
    type Error = ();

    fn tensor(&mut self, name: &str, elements: &mut [f32]) -> Result<(), ()> {
        let item = self.item();
        let Some((wanted, input)) = &mut self.wanted else { return Ok(()) };
        if !self.here || wanted.tensor != Some(name.as_bytes()) || self.hit.is_some() {
            return Ok(());
        }
        self.hit = Some(item);
        let found = wanted.bytes / 4;
        if found as usize != elements.len() {
            let expected = u32::try_from(elements.len()).unwrap_or(u32::MAX);
            input.fail(DecodeError::Length { item, expected, found });
        } else if self.loading {
            input.floats(elements);
        }
        if input.failed() { Err(()) } else { Ok(()) }
    }
}
