//! Compares the encoder and the decoder with memcpy, with memcpy and the same checksum, and with other crates.
//!
//! The writers are function calls that cannot be inlined, like those of a file or a flash driver. The other crates are
//! used as their documentation recommends: `safetensors` writes to a vector and a CRC-32 of it is computed, and
//! postcard uses its function `to_eio` and its CRC flavor.

use crate::measure::Group;
use safetensors::tensor::{Dtype, SafeTensors, TensorView as SafeTensorView};
use std::cell::RefCell;
use std::convert::Infallible;
use std::hint::black_box;
use training_monitor::checkpoint::{self, Checksum, Contents, Crc32, Named, StateDict, TensorView, TensorVisitor};
use training_monitor::embedded_io::{ErrorType, Write};
use training_monitor_std::Crc32Fast;

pub const ENCODE: &str = "encode, crc32fast";
pub const MEMCPY: &str = "memcpy";
pub const LIMIT: &str = "memcpy + crc32fast, 8 KiB at a time";
pub const SAFETENSORS: &str = "safetensors::serialize + crc32fast";
pub const POSTCARD: &str = "postcard::to_eio";
pub const POSTCARD_CRC: &str = "postcard::to_slice_crc32";
pub const LOAD: &str = "verify and load, crc32fast";
pub const VERIFY: &str = "verify only, crc32fast";

/// A model with one or more tensors of equal length.
pub struct Net {
    pub names: Vec<String>,
    pub tensors: Vec<Vec<f32>>,
}

impl Net {
    pub fn new(elements: usize, tensors: usize) -> Self {
        let values = crate::scan::weights(elements);
        let tensors: Vec<_> = values.chunks(elements.div_ceil(tensors)).map(<[f32]>::to_vec).collect();
        Net { names: (0..tensors.len()).map(|index| format!("layer{index}.weight")).collect(), tensors }
    }
}

impl StateDict for Net {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let mut all = self.names.iter().zip(&mut self.tensors);
        all.try_for_each(|(name, tensor)| tensor.visit_as_field(name, visitor))
    }
}

/// A writer to memory whose calls cannot be inlined.
pub struct OpaqueWriter<'a> {
    pub buffer: &'a mut [u8],
    pub len: usize,
}

impl OpaqueWriter<'_> {
    #[inline(never)]
    fn append(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl ErrorType for OpaqueWriter<'_> {
    type Error = Infallible;
}

impl Write for OpaqueWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.append(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Implements the memory writer also for version 0.6 of the crate embedded-io, because postcard uses that version.
impl embedded_io_06::ErrorType for OpaqueWriter<'_> {
    type Error = Infallible;
}

impl embedded_io_06::Write for OpaqueWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Write::write(self, bytes)
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A shared reference to a net, so that all variants of a group can use the same net.
struct SharedNet<'a>(&'a Net);

impl StateDict for SharedNet<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let mut all = self.0.names.iter().zip(&self.0.tensors);
        all.try_for_each(|(name, tensor)| {
            visitor.visit_tensor(name, TensorView::read_only(&[tensor.len() as u32], tensor))
        })
    }
}

pub fn encode<C: Checksum>(net: &Net, buffer: &mut [u8]) -> u32 {
    let mut writer = OpaqueWriter { buffer, len: 0 };
    let mut objects = Named::new("model", SharedNet(net));
    // The other crates do not check for NaN either. The benchmark measures this check alone.
    let contents = Contents { allow_non_finite: true, ..Contents::new(1) };
    let encoded = checkpoint::encode_with::<C, _, _>(&mut writer, &contents, &mut objects);
    encoded.expect("the buffer is large enough").len
}

fn floats(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}

pub fn encoders(elements: usize, name: &str) -> Group<'static> {
    let net: &'static Net = Box::leak(Box::new(Net::new(elements, 1)));
    let values: &'static [f32] = &net.tensors[0];
    // All variants share one source and one target. With separate buffers they would evict each other from the cache,
    // and the ratios would be those of the memory. Only safetensors allocates its target, and the allocator returns the
    // same memory each time. Source and target start at different offsets of a page: some processors copy between equal
    // offsets at a tenth of their speed.
    let target: &'static RefCell<&mut [u8]> =
        Box::leak(Box::new(RefCell::new(&mut vec![0; elements * 4 + 8192].leak()[1088..])));
    let view = move || SafeTensorView::new(Dtype::F32, vec![elements], floats(black_box(values))).expect("a tensor");
    let mut group = Group::new(format!("encode {name}"), elements, "ns/f32")
        .variant(MEMCPY, move || {
            OpaqueWriter { buffer: &mut target.borrow_mut(), len: 0 }.append(floats(black_box(values)))
        })
        .variant(LIMIT, move || {
            let mut buffer = target.borrow_mut();
            let (mut crc, mut writer) = (crc32fast::Hasher::new(), OpaqueWriter { buffer: &mut buffer, len: 0 });
            for block in floats(black_box(values)).chunks(8192) {
                crc.update(block);
                writer.append(block);
            }
            crc.finalize()
        })
        .variant(ENCODE, move || encode::<Crc32Fast>(black_box(net), &mut target.borrow_mut()))
        .variant("safetensors::serialize", move || safetensors::serialize([("w", view())], None).expect("serializes"))
        .variant(SAFETENSORS, move || {
            let bytes = safetensors::serialize([("w", view())], None).expect("serializes");
            (crc32fast::hash(&bytes), bytes)
        });
    // These variants make one write per element or one table look-up per byte, so they are too slow for the largest
    // size.
    if elements <= 1 << 16 {
        group = group
            .variant("encode, the built-in Crc32", move || encode::<Crc32>(black_box(net), &mut target.borrow_mut()))
            .variant(POSTCARD, move || {
                let writer = OpaqueWriter { buffer: &mut target.borrow_mut(), len: 0 };
                postcard::to_eio(black_box(values), writer).expect("serializes").len
            })
            .variant(POSTCARD_CRC, move || {
                const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
                postcard::to_slice_crc32(black_box(values), &mut target.borrow_mut(), CRC.digest())
                    .expect("serializes")
                    .len()
            });
    }
    group
}

pub fn decoders(elements: usize, name: &str) -> Group<'static> {
    // Source and target start at different offsets of a page, as in `encoders`.
    let bytes: &'static mut [u8] = &mut vec![0; elements * 4 + 8192].leak()[1088..];
    let len = encode::<Crc32Fast>(&Net::new(elements, 1), bytes);
    let bytes: &'static [u8] = &bytes[..len as usize];
    let values = crate::scan::weights(elements);
    let tensors = safetensors::serialize(
        [("w", SafeTensorView::new(Dtype::F32, vec![elements], floats(&values)).expect("a tensor"))],
        None,
    );
    let tensors: &'static [u8] = tensors.expect("serializes").leak();
    let plain: &'static [u8] = postcard::to_allocvec(&values).expect("serializes").leak();
    // All variants share one target, as in `encoders`.
    let net: &'static RefCell<Net> = Box::leak(Box::new(RefCell::new(Net::new(elements, 1))));
    let payload: &'static [u8] = &bytes[bytes.len() - 4 - elements * 4..bytes.len() - 4];
    Group::new(format!("decode {name}"), elements, "ns/f32")
        .variant(MEMCPY, move || {
            bytemuck::cast_slice_mut::<f32, u8>(&mut net.borrow_mut().tensors[0]).copy_from_slice(black_box(payload))
        })
        .variant(LIMIT, move || {
            let mut crc = crc32fast::Hasher::new();
            let mut net = net.borrow_mut();
            let target = bytemuck::cast_slice_mut::<f32, u8>(&mut net.tensors[0]);
            for (target, block) in target.chunks_mut(8192).zip(payload.chunks(8192)) {
                target.copy_from_slice(block);
                crc.update(target);
            }
            crc.finalize()
        })
        .variant("crc32fast alone", move || crc32fast::hash(black_box(payload)))
        .variant(VERIFY, move || {
            let mut scratch = [0; 4096];
            checkpoint::inspect_with::<Crc32Fast, _, _>(&mut black_box(bytes), &mut scratch, &mut ())
                .expect("an intact stream")
                .crc
        })
        .variant(LOAD, move || {
            checkpoint::load_with::<Crc32Fast, _>(
                black_box(bytes),
                &mut Named::new("model", &mut *net.borrow_mut()),
                None,
            )
            .expect("an intact stream")
            .crc
        })
        .variant("safetensors + crc32fast + copy", move || {
            let crc = crc32fast::hash(black_box(tensors));
            let tensors = SafeTensors::deserialize(tensors).expect("an intact stream");
            bytemuck::cast_slice_mut::<f32, u8>(&mut net.borrow_mut().tensors[0])
                .copy_from_slice(tensors.tensor("w").expect("a tensor w").data());
            crc
        })
        .variant("postcard to Vec<f32>", move || {
            postcard::from_bytes::<Vec<f32>>(black_box(plain)).expect("an intact stream")
        })
}
