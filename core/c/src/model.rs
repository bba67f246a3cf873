//! The model of a C program: named objects, each a list of tensors or one number.

use crate::object::{read, slice, slice_mut};
use crate::status::{Result, tm_status};
use core::ffi::{CStr, c_char, c_void};
use training_monitor::checkpoint::{
    ElementType, MAX_RANK, ObjectVisitor, Objects, StateDict, TensorUnavailable, TensorView, TensorVisitor, is_utf8,
};

/// The maximum number of dimensions of a tensor.
pub const TM_MAX_RANK: usize = 6;

const _: () = assert!(TM_MAX_RANK == MAX_RANK);

/// IEEE 754 single precision: float.
pub const TM_F32: u8 = 0;
/// IEEE 754 double precision: double.
pub const TM_F64: u8 = 1;
/// IEEE 754 half precision, in uint16_t.
pub const TM_F16: u8 = 2;
/// The upper 16 bits of a float, in uint16_t.
pub const TM_BF16: u8 = 3;
/// int8_t.
pub const TM_I8: u8 = 4;
/// uint8_t.
pub const TM_U8: u8 = 5;
/// int16_t.
pub const TM_I16: u8 = 6;
/// uint16_t.
pub const TM_U16: u8 = 7;
/// int32_t.
pub const TM_I32: u8 = 8;
/// uint32_t.
pub const TM_U32: u8 = 9;
/// int64_t.
pub const TM_I64: u8 = 10;
/// uint64_t.
pub const TM_U64: u8 = 11;
/// One byte with the value 0 or 1.
pub const TM_BOOL: u8 = 12;

/// One tensor: an array of numbers with a name, a type and a shape.
#[repr(C)]
pub struct tm_tensor {
    /// The name, unique within its object, in UTF-8.
    pub name: *const c_char,
    /// The elements, in row-major order.
    pub data: *mut c_void,
    /// The dimensions, outermost first. Their product is the number of elements.
    pub shape: [u32; TM_MAX_RANK],
    /// The number of dimensions, 0 to TM_MAX_RANK. A single number has 0 dimensions.
    pub rank: u8,
    /// The type of the elements, for example TM_F32.
    pub kind: u8,
}

/// One named object of a checkpoint: either a list of tensors, such as a network or an optimizer, or one number, such as a
/// seed.
#[repr(C)]
pub struct tm_object {
    /// The name, unique within the model, in UTF-8.
    pub name: *const c_char,
    /// The tensors, or null for an object that is a number.
    pub tensors: *const tm_tensor,
    /// The number of tensors.
    pub tensor_count: u32,
    /// Whether a tm_weight_guard checks the float tensors of this object: 0 or 1.
    pub is_guarded: u8,
    /// The number, or null for an object with tensors. It is saved as a value (Ignite: save_as_state_dict=False).
    pub number: *mut u64,
    /// The object whose average this one is, or null. Both have the same float tensors, in other memory. An attached
    /// tm_weight_average updates this object.
    pub average_of: *const tm_object,
}

/// Everything that a checkpoint contains, except the states of the engine and of the handlers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tm_model {
    /// The objects. The array, its names and its tensors must exist as long as the model is used.
    pub objects: *const tm_object,
    /// The number of objects.
    pub object_count: u32,
}

/// The checked model of a program.
pub(crate) struct Model(tm_model);

/// Returns a text of the caller.
///
/// # Safety
/// `text` is null, or points to a text that ends with a zero.
#[inline(never)] // Called at several places.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller promises that the text ends with a zero.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    // SAFETY: the bytes are valid UTF-8. `core::str::from_utf8` would add 300 bytes of code.
    is_utf8(bytes).then(|| unsafe { core::str::from_utf8_unchecked(bytes) })
}

/// Returns a text of the settings, which must exist as long as the object. A null pointer is an empty text.
///
/// # Safety
/// `pointer` is null, or points to a text that ends with a zero and exists as long as the object with these settings.
pub(crate) unsafe fn setting_text(pointer: *const c_char) -> Result<&'static str> {
    if pointer.is_null() {
        return Ok("");
    }
    // SAFETY: the caller promises that the text ends with a zero and exists long enough.
    unsafe { text(pointer) }.ok_or(tm_status::TM_ERROR_SETTING)
}

impl Model {
    /// Checks the description of a model. The names, shapes and sizes are checked when it is saved or loaded.
    ///
    /// # Safety
    /// `model` is null, or points to a model whose pointers are valid as long as the returned value is used.
    pub unsafe fn new(model: *const tm_model) -> Result<Self> {
        // SAFETY: the caller promises that the model is valid.
        let model = Model(*unsafe { read(model) }?);
        for object in model.objects()? {
            let tensors = object.tensors()?;
            let is_number = !object.number.is_null();
            if is_number != tensors.is_empty() && (is_number || object.tensors.is_null()) {
                return Err(tm_status::TM_ERROR_MODEL);
            }
            if is_number && !object.number.is_aligned() {
                return Err(tm_status::TM_ERROR_MISALIGNED);
            }
            // SAFETY: as above.
            unsafe { text(object.name) }.ok_or(tm_status::TM_ERROR_MODEL)?;
            for tensor in tensors {
                tensor.check()?;
            }
        }
        Ok(model)
    }

    fn objects(&self) -> Result<&[tm_object]> {
        // SAFETY: `new` has received the promise that the objects are valid.
        unsafe { slice(self.0.objects, self.0.object_count as usize) }
    }

    /// Checks that there are averages, and that each has the same float tensors as its weights.
    pub fn check_averages(&self) -> Result {
        let mut result = Err(tm_status::TM_ERROR_MODEL);
        for object in self.objects()?.iter().filter(|object| !object.average_of.is_null()) {
            // SAFETY: `new` has received the promise that the objects are valid.
            unsafe { object.check_average() }?;
            result = Ok(());
        }
        result
    }

    /// Passes the tensors of each average and of its weights to `change`.
    pub fn averages(&mut self, change: &mut dyn FnMut(&mut [f32], &mut [f32])) {
        for object in Model::objects(self).unwrap_or_default().iter().filter(|object| !object.average_of.is_null()) {
            // SAFETY: `new` has received the promise that all pointers are valid and that nothing else uses the tensors during
            // a call.
            let pairs = unsafe { object.pairs() }.unwrap_or_default();
            for (average, weights) in pairs.0.iter().zip(pairs.1) {
                // SAFETY: as above. `check_averages` has found that the tensors of a pair differ.
                if let (Ok(average), Ok(weights)) = unsafe { (average.floats(), weights.floats()) } {
                    change(average, weights);
                }
            }
        }
    }

    /// Passes the float tensors of the guarded objects to `check`.
    pub fn scan(&self, check: &mut dyn FnMut(&[f32])) {
        for object in self.objects().unwrap_or_default().iter().filter(|object| object.is_guarded != 0) {
            // SAFETY: `new` has received the promise that the tensors are valid and that nothing else uses them during a call.
            unsafe { object.each_float(&mut |values| check(values)) };
        }
    }
}

impl tm_tensor {
    fn element_type(&self) -> Option<ElementType> {
        ElementType::ALL.get(usize::from(self.kind)).copied()
    }

    fn shape(&self) -> Option<&[u32]> {
        self.shape.get(..usize::from(self.rank))
    }

    /// Returns the number of elements.
    #[inline(never)] // Called at several places.
    fn len(&self) -> Option<usize> {
        self.shape()?.iter().try_fold(1_usize, |len, dimension| len.checked_mul(usize::try_from(*dimension).ok()?))
    }

    /// Borrows the elements of a float tensor.
    ///
    /// # Safety
    /// The tensor is valid, and nothing else uses its elements.
    unsafe fn floats<'a>(&self) -> Result<&'a mut [f32]> {
        self.check()?;
        if self.kind != TM_F32 {
            return Err(tm_status::TM_ERROR_MODEL);
        }
        // SAFETY: the caller promises that the tensor has this number of elements and exclusive use.
        unsafe { slice_mut(self.data.cast(), self.len().unwrap_or(0)) }
    }

    #[inline(never)] // One copy of the code for all callers.
    fn check(&self) -> Result {
        let size = self.element_type().ok_or(tm_status::TM_ERROR_MODEL)?.size() as usize;
        let len = self.len().and_then(|len| len.checked_mul(size)).filter(|len| *len <= isize::MAX as usize);
        if len.ok_or(tm_status::TM_ERROR_MODEL)? > 0 && self.data.is_null() {
            return Err(tm_status::TM_ERROR_NULL);
        }
        // The sizes of elements are powers of two.
        if self.data.addr() & (size - 1) != 0 {
            return Err(tm_status::TM_ERROR_MISALIGNED);
        }
        // SAFETY: the caller of `Model::new` promises that the names are valid.
        unsafe { text(self.name) }.map(|_| ()).ok_or(tm_status::TM_ERROR_MODEL)
    }

    /// Returns the name and the view of the tensor.
    #[inline(never)] // One copy of the code for all visitors.
    fn view(&self) -> core::result::Result<(&str, TensorView<'_>), TensorUnavailable> {
        self.check().map_err(|_| TensorUnavailable)?;
        let (Some(element_type), Some(shape), Some(len)) = (self.element_type(), self.shape(), self.len()) else {
            return Err(TensorUnavailable);
        };
        let bytes = if len == 0 {
            &mut []
        } else {
            // SAFETY: the pointer was checked, and the caller of `Model::new` promises that the tensor has this number of
            // elements and that nothing else uses them during a call.
            unsafe { core::slice::from_raw_parts_mut(self.data.cast::<u8>(), len * element_type.size() as usize) }
        };
        // SAFETY: the caller of `Model::new` promises that the names are valid.
        let name = unsafe { text(self.name) }.ok_or(TensorUnavailable)?;
        Ok((name, TensorView::from_bytes(element_type, shape, bytes)))
    }
}

/// The tensors of one object.
struct Tensors<'a>(&'a [tm_tensor]);

impl StateDict for Tensors<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> core::result::Result<(), V::Error> {
        for tensor in self.0 {
            let (name, view) = tensor.view()?;
            visitor.visit_tensor(name, view)?;
        }
        Ok(())
    }
}

impl tm_object {
    /// Returns the tensors of an average and of its weights.
    ///
    /// # Safety
    /// The object, and the one whose average it is, are valid.
    unsafe fn pairs(&self) -> Result<(&[tm_tensor], &[tm_tensor])> {
        // SAFETY: the caller makes the same promise.
        let weights = unsafe { read(self.average_of) }?;
        Ok((self.tensors()?, weights.tensors()?))
    }

    /// Checks that an average has the same float tensors as its weights.
    ///
    /// # Safety
    /// As for [`pairs`](Self::pairs).
    unsafe fn check_average(&self) -> Result {
        // SAFETY: the caller makes the same promise.
        let (averages, weights) = unsafe { self.pairs() }?;
        let is_pair = |(average, weights): (&tm_tensor, &tm_tensor)| {
            average.kind == TM_F32
                && weights.kind == TM_F32
                && average.len() == weights.len()
                && average.data != weights.data
        };
        if averages.len() == weights.len() && averages.iter().zip(weights).all(is_pair) {
            Ok(())
        } else {
            Err(tm_status::TM_ERROR_MODEL)
        }
    }

    /// Borrows the elements of all float tensors in turn.
    ///
    /// # Safety
    /// The object is valid, and nothing else uses its tensors.
    pub(crate) unsafe fn each_float(&self, visit: &mut dyn FnMut(&mut [f32])) {
        for tensor in self.tensors().unwrap_or_default() {
            // SAFETY: the caller makes the same promise.
            if let Ok(values) = unsafe { tensor.floats() } {
                visit(values);
            }
        }
    }

    #[inline(never)] // One copy of the code for all callers.
    fn tensors(&self) -> Result<&[tm_tensor]> {
        // SAFETY: the caller of `Model::new`, or of the function that received this object, promises that the tensors are
        // valid.
        unsafe { slice(self.tensors, self.tensor_count as usize) }
    }

    /// Returns the name and the tensors of the object.
    #[inline(never)] // One copy of the code for all visitors.
    fn parts(&self) -> core::result::Result<(&str, Tensors<'_>), TensorUnavailable> {
        // SAFETY: the caller of `Model::new` promises that the names are valid.
        match (unsafe { text(self.name) }, self.tensors()) {
            (Some(name), Ok(tensors)) => Ok((name, Tensors(tensors))),
            _ => Err(TensorUnavailable),
        }
    }
}

impl Objects for Model {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> core::result::Result<(), V::Error> {
        for object in Model::objects(self).map_err(|_| TensorUnavailable)? {
            let (name, mut tensors) = object.parts()?;
            if object.number.is_null() {
                visitor.state_dict(name, &mut tensors)?;
            } else {
                // SAFETY: `new` has checked the pointer and has received the promise that nothing else uses the number
                // during a call.
                visitor.value(name, unsafe { &mut *object.number })?;
            }
        }
        Ok(())
    }
}
