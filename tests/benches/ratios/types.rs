//! Compares the speed of tensors of each element type with that of `f32`, for the same number of bytes.

use crate::bytes::OpaqueWriter;
use crate::measure::Group;
use std::cell::RefCell;
use std::hint::black_box;
use training_monitor::checkpoint::{self, Contents, ElementType, Named, StateDict, TensorView, TensorVisitor};
use training_monitor::finite::Finite;
use training_monitor_std::Crc32Fast;

/// The number of bytes of the tensor.
const BYTES: usize = 1 << 18;

/// A tensor of bytes, whose type is known at run time.
struct Arena<'a>(ElementType, &'a mut [u8]);

impl StateDict for Arena<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let shape = [BYTES as u32 / self.0.size()];
        visitor.tensor("w", TensorView::from_bytes(self.0, &shape, self.1))
    }
}

fn encode(element_type: ElementType, values: &mut [u8], target: &mut [u8]) -> u32 {
    let contents = Contents { allow_non_finite: true, ..Contents::new(1) };
    let mut writer = OpaqueWriter { buffer: target, len: 0 };
    let mut objects = Named::new("m", Arena(element_type, values));
    checkpoint::encode_with::<Crc32Fast, _, _>(&mut writer, &contents, &mut objects).expect("the buffer is large").len
}

/// All types share one source and one target, at different offsets of a page, as in the other groups.
fn memory() -> (&'static RefCell<&'static mut [u8]>, &'static RefCell<&'static mut [u8]>) {
    let leak = |offset: usize| &mut vec![0; BYTES + 8192].leak()[offset..];
    (Box::leak(Box::new(RefCell::new(&mut leak(0)[..BYTES]))), Box::leak(Box::new(RefCell::new(leak(1088)))))
}

pub fn encoders() -> Group<'static> {
    let (source, target) = memory();
    ElementType::ALL.into_iter().fold(Group::new("encode 256 KiB", BYTES, "ns/byte"), |group, element_type| {
        group.variant(element_type.name(), move || {
            encode(element_type, black_box(&mut source.borrow_mut()), &mut target.borrow_mut())
        })
    })
}

pub fn loads() -> Group<'static> {
    let (model, _) = memory();
    ElementType::ALL.into_iter().fold(Group::new("verify and load 256 KiB", BYTES, "ns/byte"), |group, element_type| {
        let stream: &'static mut [u8] = &mut vec![0; BYTES + 8192].leak()[1088..];
        let len = encode(element_type, &mut vec![0; BYTES], stream);
        let stream: &'static [u8] = &stream[..len as usize];
        group.variant(element_type.name(), move || {
            let mut model = model.borrow_mut();
            let mut objects = Named::new("m", Arena(element_type, &mut model));
            checkpoint::load_with::<Crc32Fast, _>(black_box(stream), &mut objects, None).expect("an intact stream").crc
        })
    })
}

/// Scans 256 KiB of ones.
pub fn scans() -> Group<'static> {
    fn values<T: Copy>(one: T) -> &'static [T] {
        vec![one; BYTES / size_of::<T>()].leak()
    }
    let (single, double) = (values(1.0_f32), values(1.0_f64));
    let (half, brain) = (values(half::f16::ONE), values(half::bf16::ONE));
    Group::new("scan 256 KiB", BYTES, "ns/byte")
        .variant("f32", move || black_box(single).is_finite())
        .variant("f64", move || black_box(double).is_finite())
        .variant("f16", move || black_box(half).is_finite())
        .variant("bf16", move || black_box(brain).is_finite())
}
