//! The encoder and the decoder beside memcpy, beside memcpy with the same checksum, and beside the peers.
//!
//! The writers are opaque: a call that cannot be inlined, as a file or a flash driver is. Peers do what their users
//! would: `safetensors` to a vector with a CRC-32 after it, postcard through its own `to_eio` and its own CRC flavor.

use crate::measure::Group;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::cell::RefCell;
use std::convert::Infallible;
use std::hint::black_box;
use training_monitor::checkpoint::{
    self, Checksum, Contents, Crc32, Header, Objects, One, StateDict, Visit, VisitMut, VisitTensors, VisitTensorsMut,
};
use training_monitor::embedded_io::{ErrorType, Write};
use training_monitor_std::Crc32Fast;

pub const ENCODE: &str = "encode, crc32fast";
pub const MEMCPY: &str = "memcpy";
pub const LIMIT: &str = "memcpy + crc32fast, 8 KiB at a time";
pub const SAFETENSORS: &str = "safetensors::serialize + crc32fast";
pub const POSTCARD: &str = "postcard::to_eio";
pub const POSTCARD_CRC: &str = "postcard::to_slice_crc32";
pub const LOAD: &str = "verify and load, crc32fast";
pub const VERIFY: &str = "verify alone, crc32fast";

/// A model of equal tensors, or one.
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
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        let mut all = self.names.iter().zip(&self.tensors);
        all.try_for_each(|(name, tensor)| visitor.tensor(name, &[tensor.len() as u32], tensor))
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let mut all = self.names.iter().zip(&mut self.tensors);
        all.try_for_each(|(name, tensor)| visitor.tensor(name, tensor))
    }
}

/// Memory behind a call.
pub struct Opaque<'a> {
    pub place: &'a mut [u8],
    pub used: usize,
}

impl Opaque<'_> {
    #[inline(never)]
    fn take(&mut self, bytes: &[u8]) {
        self.place[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }
}

impl ErrorType for Opaque<'_> {
    type Error = Infallible;
}

impl Write for Opaque<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.take(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The same by the version of the trait that postcard knows.
impl embedded_io_06::ErrorType for Opaque<'_> {
    type Error = Infallible;
}

impl embedded_io_06::Write for Opaque<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Write::write(self, bytes)
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

pub const CONTENTS: Contents<'static> = Contents {
    header: Header { step: 1, sequence: 1, iteration: 1, score: None, score_name: None },
    record: None,
    only: None,
    allow_non_finite: false,
};

/// A net that is only shown, so that all ways of a group can have the same one.
struct Shown<'a>(&'a Net);

impl Objects for Shown<'_> {
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("model", self.0)
    }
    fn objects_mut<V: VisitMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
        Ok(())
    }
}

pub fn encode<C: Checksum>(net: &Net, place: &mut [u8]) -> u32 {
    let mut writer = Opaque { place, used: 0 };
    let written = checkpoint::encode::<C, _, _>(&mut writer, &CONTENTS, &Shown(net));
    written.expect("room enough").len
}

fn floats(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}

pub fn encoders(elements: usize, name: &str) -> Group<'static> {
    let net: &'static Net = Box::leak(Box::new(Net::new(elements, 1)));
    let values: &'static [f32] = &net.tensors[0];
    // All from one place to one other: with a source and a target each they would push each other out of the cache, and
    // the ratios would be those of memory. Only safetensors takes its target from the allocator, which gives it the same
    // one again. Source and target must not begin at the same place of a page: some processors copy that at a tenth of
    // their speed.
    let room: &'static RefCell<&mut [u8]> =
        Box::leak(Box::new(RefCell::new(&mut vec![0; elements * 4 + 8192].leak()[1088..])));
    let view = move || TensorView::new(Dtype::F32, vec![elements], floats(black_box(values))).expect("a tensor");
    let mut group = Group::new(format!("encode {name}"), elements, "ns/f32")
        .way(MEMCPY, move || Opaque { place: &mut room.borrow_mut(), used: 0 }.take(floats(black_box(values))))
        .way(LIMIT, move || {
            let mut place = room.borrow_mut();
            let (mut crc, mut to) = (crc32fast::Hasher::new(), Opaque { place: &mut place, used: 0 });
            for block in floats(black_box(values)).chunks(8192) {
                crc.update(block);
                to.take(block);
            }
            crc.finalize()
        })
        .way(ENCODE, move || encode::<Crc32Fast>(black_box(net), &mut room.borrow_mut()))
        .way("safetensors::serialize", move || safetensors::serialize([("w", view())], None).expect("serializes"))
        .way(SAFETENSORS, move || {
            let bytes = safetensors::serialize([("w", view())], None).expect("serializes");
            (crc32fast::hash(&bytes), bytes)
        });
    // One write an element, or one table look-up a byte: too slow to wait for at the largest sizes.
    if elements <= 1 << 16 {
        group = group
            .way("encode, the built-in Crc32", move || encode::<Crc32>(black_box(net), &mut room.borrow_mut()))
            .way(POSTCARD, move || {
                let to = Opaque { place: &mut room.borrow_mut(), used: 0 };
                postcard::to_eio(black_box(values), to).expect("serializes").used
            })
            .way(POSTCARD_CRC, move || {
                const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
                postcard::to_slice_crc32(black_box(values), &mut room.borrow_mut(), CRC.digest())
                    .expect("serializes")
                    .len()
            });
    }
    group
}

pub fn decoders(elements: usize, name: &str) -> Group<'static> {
    // As above, not where the target begins in its page.
    let bytes: &'static mut [u8] = &mut vec![0; elements * 4 + 8192].leak()[1088..];
    let len = encode::<Crc32Fast>(&Net::new(elements, 1), bytes);
    let bytes: &'static [u8] = &bytes[..len as usize];
    let values = crate::scan::weights(elements);
    let tensors = safetensors::serialize(
        [("w", TensorView::new(Dtype::F32, vec![elements], floats(&values)).expect("a tensor"))],
        None,
    );
    let tensors: &'static [u8] = tensors.expect("serializes").leak();
    let plain: &'static [u8] = postcard::to_allocvec(&values).expect("serializes").leak();
    // One target for all, as above.
    let net: &'static RefCell<Net> = Box::leak(Box::new(RefCell::new(Net::new(elements, 1))));
    let payload: &'static [u8] = &bytes[bytes.len() - 4 - elements * 4..bytes.len() - 4];
    Group::new(format!("decode {name}"), elements, "ns/f32")
        .way(MEMCPY, move || {
            bytemuck::cast_slice_mut::<f32, u8>(&mut net.borrow_mut().tensors[0]).copy_from_slice(black_box(payload))
        })
        .way(LIMIT, move || {
            let mut crc = crc32fast::Hasher::new();
            let mut net = net.borrow_mut();
            let to = bytemuck::cast_slice_mut::<f32, u8>(&mut net.tensors[0]);
            for (to, block) in to.chunks_mut(8192).zip(payload.chunks(8192)) {
                to.copy_from_slice(block);
                crc.update(to);
            }
            crc.finalize()
        })
        .way("crc32fast alone", move || crc32fast::hash(black_box(payload)))
        .way(VERIFY, move || {
            let mut scratch = [0; 4096];
            checkpoint::inspect::<Crc32Fast, _, _>(&mut black_box(bytes), &mut scratch, &mut ())
                .expect("good bytes")
                .crc
        })
        .way(LOAD, move || {
            checkpoint::load::<Crc32Fast, _>(black_box(bytes), &mut One("model", &mut *net.borrow_mut()), None)
                .expect("good bytes")
                .crc
        })
        .way("safetensors + crc32fast + copy", move || {
            let crc = crc32fast::hash(black_box(tensors));
            let all = SafeTensors::deserialize(tensors).expect("good bytes");
            bytemuck::cast_slice_mut::<f32, u8>(&mut net.borrow_mut().tensors[0])
                .copy_from_slice(all.tensor("w").expect("there").data());
            crc
        })
        .way("postcard to Vec<f32>", move || postcard::from_bytes::<Vec<f32>>(black_box(plain)).expect("good bytes"))
}
