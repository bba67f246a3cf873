//! A load allocates memory only for bytes that the stream contains, regardless of the length that a damaged stream states.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use training_monitor::checkpoint::{self, Contents, DecodeError, ObjectVisitor, Objects};

/// Counts the bytes of the largest allocation.
struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed to the allocator of the system unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller meets the requirements of this function, which are the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller meets the requirements of this function, which are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Text(String);

impl Objects for Text {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.value("text", &mut self.0)
    }
}

#[test]
fn a_value_with_a_damaged_length_allocates_no_more_than_the_stream_contains() {
    let mut bytes = vec![0; 2000];
    let mut text = Text("a".repeat(1000));
    let encoded = checkpoint::encode(&mut &mut bytes[..], &Contents::new(1), &mut text).unwrap();
    bytes.truncate(encoded.len as usize);
    // The value consists of the length 1000 and the text. It follows its own length, which is 1002.
    let length = bytes.windows(5).position(|window| window == [0xEA, 7, 0xE8, 7, b'a']).unwrap();
    bytes.splice(length..length + 2, [0x80, 0x80, 0x80, 0x80, 8]);
    bytes[5..9].copy_from_slice(&u32::MAX.to_le_bytes());

    LARGEST.store(0, Ordering::Relaxed);
    let result = checkpoint::load(&bytes, &mut text, None);
    assert!(matches!(result, Err(DecodeError::Truncated)), "{result:?}");
    assert!(LARGEST.load(Ordering::Relaxed) < 10_000, "{LARGEST:?}");
}
