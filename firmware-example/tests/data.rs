//! That the linked-in data is the published data, and that its parts share nothing.

use digits_workload::data::{self, CLASSES, IMAGES, PIXEL_MAX, Split, batch, image};
use flate2::read::GzDecoder;
use std::collections::BTreeSet;
use std::io::Read;

#[test]
fn the_binary_holds_the_numbers_of_the_csv() {
    let packed: &[u8] = include_bytes!("../data/digits.csv.gz");
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), IMAGES as usize);
    for (number, line) in (0..).zip(text.lines()) {
        let record: Vec<u8> = line.split(',').map(|v| v.parse().unwrap()).collect();
        let (label, pixels) = record.split_last().unwrap();
        let image = image(number).unwrap();
        assert_eq!((image.label(), &image.pixels()[..]), (*label, pixels));
        assert!(pixels.iter().all(|pixel| *pixel <= PIXEL_MAX));
        assert!(usize::from(*label) < CLASSES);
    }
    assert_eq!(image(IMAGES), None);
    assert_eq!(image(u32::MAX), None);
}

#[test]
fn the_parts_are_disjoint_and_complete() {
    let mut seen = BTreeSet::new();
    for split in Split::ALL {
        for index in 0..split.len() {
            assert!(seen.insert(split.number(index).unwrap()));
        }
        assert_eq!(split.number(split.len()), None);
        assert_eq!(split.number(u32::MAX), None);
        assert_eq!(split.images().count(), split.len() as usize);
    }
    assert!(seen.into_iter().eq(0..IMAGES));
}

#[test]
fn every_part_has_every_class_in_fair_measure() {
    for split in Split::ALL {
        let mut counts = [0_u32; CLASSES];
        for image in split.images() {
            counts[usize::from(image.label())] += 1;
        }
        let fair = split.len() / CLASSES as u32;
        assert!(counts.iter().all(|n| (fair / 2..=fair * 2).contains(n)), "{split:?}: {counts:?}");
    }
}

#[test]
fn an_epoch_holds_every_training_image_once_whatever_the_batch() {
    let numbers: BTreeSet<_> = (0..Split::Train.len()).map(|index| Split::Train.number(index).unwrap()).collect();
    let all: BTreeSet<_> = numbers.iter().map(|number| data::image(*number).unwrap().pixels().as_ptr()).collect();
    for size in [1, 7, 16, 1000, 1200, 5000] {
        let mut left = all.clone();
        for offset in 0..1200_u32.div_ceil(size) {
            for image in batch(3, 5, offset, size) {
                assert!(left.remove(&image.pixels().as_ptr()), "twice, or not ours");
            }
        }
        assert!(left.is_empty());
        assert_eq!(batch(3, 5, 1200_u32.div_ceil(size), size).count(), 0);
        assert_eq!(batch(3, 5, u32::MAX, size).count(), 0);
    }
    assert_eq!(batch(3, 5, 0, 0).count(), 0);
}

#[test]
fn pixels_are_scaled_without_rounding() {
    for image in Split::Validation.images() {
        for (pixel, scaled) in image.pixels().iter().zip(image.scaled()) {
            assert_eq!(f64::from(scaled), f64::from(*pixel) / 16.0 - 0.5);
        }
    }
}
