//! The checksum against its definition, a bit at a time, for every length and every cut of the input. With
//! `--features training-monitor/crc-table-4k` the same of the other table.

use training_monitor::checkpoint::{Checksum, Crc32};

fn by_definition(bytes: &[u8]) -> u32 {
    let mut register = !0_u32;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = if register & 1 == 1 { register >> 1 ^ 0xEDB8_8320 } else { register >> 1 };
        }
    }
    !register
}

#[test]
fn every_length_and_every_cut_has_the_sum_of_the_definition() {
    let bytes: Vec<u8> = (0..1000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for len in (0..70).chain([255, 256, 257, 1000]) {
        let expected = by_definition(&bytes[..len]);
        assert_eq!(crc32fast::hash(&bytes[..len]), expected);
        for cut in (0..=len).step_by(1 + len / 70) {
            let mut sum = Crc32::default();
            sum.update(&bytes[..cut]);
            sum.update(&bytes[cut..len]);
            assert_eq!(sum.value(), expected, "{len} bytes, cut at {cut}");
        }
    }
}
