//! Tests that the linked data equals the published data, and that its three parts are disjoint.

use digits_workload::data::{self, CLASSES, IMAGES, PIXEL_MAX, Split, batch, image};
use flate2::read::GzDecoder;
use std::collections::BTreeSet;
use std::io::Read;

#[test]
fn the_binary_file_equals_the_csv_file() {
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
fn the_classes_are_balanced_in_every_part() {
    for split in Split::ALL {
        let mut counts = [0_u32; CLASSES];
        for image in split.images() {
            counts[usize::from(image.label())] += 1;
        }
        let mean = split.len() / CLASSES as u32;
        assert!(counts.iter().all(|n| (mean / 2..=mean * 2).contains(n)), "{split:?}: {counts:?}");
    }
}

#[test]
fn an_epoch_contains_every_training_image_once_for_every_batch_size() {
    let numbers: BTreeSet<_> = (0..Split::Train.len()).map(|index| Split::Train.number(index).unwrap()).collect();
    let all: BTreeSet<_> = numbers.iter().map(|number| data::image(*number).unwrap().pixels().as_ptr()).collect();
    for size in [1, 7, 16, 1000, 1200, 5000] {
        let mut remaining = all.clone();
        for offset in 0..1200_u32.div_ceil(size) {
            for image in batch(3, 5, offset, size) {
                assert!(remaining.remove(&image.pixels().as_ptr()), "a duplicate, or not a training image");
            }
        }
        assert!(remaining.is_empty());
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
