//! Tests of the checksum. The built-in `Crc32` is compared with the definition of CRC-32 and with the crate crc32fast.
//! A checkpoint can also be written and read with a user-defined checksum.
//!
//! The feature `crc-table-4k` selects a larger and faster table.

use training_monitor::checkpoint::{self, Checksum, Contents, Crc32, DecodeError, Named};

/// A random generator (xorshift32) that produces the same numbers in every test run.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }
}

/// Computes the checksum CRC-32/ISO-HDLC one bit at a time, as its definition does.
fn bitwise(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn crc32_matches_the_definition_at_every_alignment_and_in_random_pieces() {
    let mut random = Random(7);
    let bytes: Vec<u8> = (0..400).map(|_| random.next() as u8).collect();
    assert_eq!(bitwise(b"123456789"), 0xCBF4_3926);
    for start in 0..8 {
        for len in 0..=300 {
            let part = &bytes[start..start + len];
            let expected = bitwise(part);
            assert_eq!(crc32fast::hash(part), expected);
            let mut crc = Crc32::default();
            crc.update(part);
            assert_eq!(crc.value(), expected, "{len} bytes from {start}");
        }
    }
    for split in 0..=bytes.len() {
        let (first, second) = bytes.split_at(split);
        let mut crc = Crc32::default();
        crc.update(first);
        assert_eq!(crc.value(), bitwise(first));
        crc.update(second);
        assert_eq!(crc.value(), bitwise(&bytes));
    }
    for _ in 0..200 {
        let (mut crc, mut rest) = (Crc32::default(), &bytes[..]);
        while !rest.is_empty() {
            let (first, remaining) = rest.split_at(random.below(20).min(rest.len()));
            crc.update(first);
            rest = remaining;
        }
        assert_eq!(crc.value(), bitwise(&bytes));
    }
}

#[test]
fn crc32_matches_the_definition_at_every_length_and_split() {
    let bytes: Vec<u8> = (0..1000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for len in (0..70).chain([255, 256, 257, 1000]) {
        let expected = bitwise(&bytes[..len]);
        assert_eq!(crc32fast::hash(&bytes[..len]), expected);
        for split in (0..=len).step_by(1 + len / 70) {
            let mut crc = Crc32::default();
            crc.update(&bytes[..split]);
            crc.update(&bytes[split..len]);
            assert_eq!(crc.value(), expected, "{len} bytes, split at {split}");
        }
    }
}

/// The CRC-32 of the crate crc32fast, as a user-defined checksum.
#[derive(Default)]
struct Fast(crc32fast::Hasher);

impl Checksum for Fast {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

/// A wrong checksum: the bitwise complement of CRC-32. A checkpoint with this checksum cannot be read with CRC-32. A
/// checkpoint with CRC-32 cannot be read with this checksum.
#[derive(Default)]
struct Wrong(Crc32);

impl Checksum for Wrong {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn value(&self) -> u32 {
        !self.0.value()
    }
}

#[test]
fn another_implementation_of_the_checksum_reads_and_writes_the_same_streams() {
    let mut model = Named::new("m", [1.0_f32, 2.0, 3.0]);
    let (mut bytes, mut fast) = (Vec::new(), Vec::new());
    let encoded = checkpoint::encode(&mut bytes, &Contents::new(1), &mut model).unwrap();
    assert_eq!(checkpoint::encode_with::<Fast, _, _>(&mut fast, &Contents::new(1), &mut model), Ok(encoded));
    assert_eq!(bytes, fast);

    let mut loaded = Named::new("m", [0.0_f32; 3]);
    let info = checkpoint::load_with::<Fast, _>(&bytes, &mut loaded, None).unwrap();
    assert_eq!((info.crc, loaded.object), (encoded.crc, model.object));
    let inspected = checkpoint::inspect_with::<Fast, _, _>(&mut &bytes[..], &mut [0; 64], &mut ());
    assert_eq!(inspected, Ok(info));

    let mut loaded = Named::new("m", [0.0_f32; 3]);
    let wrong = checkpoint::load_with::<Wrong, _>(&bytes, &mut loaded, None);
    assert_eq!((wrong, loaded.object), (Err(DecodeError::Checksum), [0.0; 3]));
    let wrong = checkpoint::inspect_with::<Wrong, _, _>(&mut &bytes[..], &mut [0; 64], &mut ());
    assert_eq!(wrong, Err(DecodeError::Checksum));
    checkpoint::encode_with::<Wrong, _, _>(&mut fast, &Contents::new(1), &mut model).unwrap();
    assert_eq!(checkpoint::load(&fast[bytes.len()..], &mut loaded, None), Err(DecodeError::Checksum));
}
