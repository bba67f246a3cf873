//! The simulated flash of `test_support`: the contract that it enforces, and the effects of interrupted operations.

use training_monitor::embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor_std::test_support::flash::{ChipError, Flash, Interruption, Violation};

#[test]
fn a_violation_of_the_driver_contract_is_an_error_or_is_recorded() {
    let mut flash = Flash::<4, 256>::new(1024, 0xFF);
    assert_eq!(flash.write(2, &[0; 4]), Err(ChipError::Contract(NorFlashErrorKind::NotAligned)));
    assert_eq!(flash.write(0, &[0; 3]), Err(ChipError::Contract(NorFlashErrorKind::NotAligned)));
    assert_eq!(flash.erase(0, 1280), Err(ChipError::Contract(NorFlashErrorKind::OutOfBounds)));
    assert_eq!(flash.violations().len(), 3);
    // All bytes of a new flash have the erased value, but the flash treats them as not erased. A write before the first
    // erase is therefore a violation.
    flash.write(8, &[0; 4]).unwrap();
    assert_eq!(flash.violations()[3], Violation::Reprogrammed { at: 8 });
    flash.erase(0, 256).unwrap();
    flash.write(8, &[0x0F; 4]).unwrap();
    flash.write(8, &[0xF0; 4]).unwrap();
    assert_eq!(flash.image()[8..12], [0; 4]);
    assert_eq!(flash.violations().len(), 5);
    assert_eq!((flash.counts.erased, flash.counts.programmed, flash.block_erases[0]), (1, 12, 1));
}

#[test]
fn programming_sets_bits_if_the_erased_value_is_zero() {
    let mut flash = Flash::<1, 256>::new(256, 0);
    flash.erase(0, 256).unwrap();
    flash.write(0, &[0x0F]).unwrap();
    flash.write(0, &[0xF0]).unwrap();
    assert_eq!(flash.image()[..2], [0xFF, 0]);
}

#[test]
fn each_interruption_leaves_the_cells_as_its_name_says() {
    let interrupted = |interruption, erase: bool| {
        let mut flash = Flash::<8, 256>::new(256, 0xFF);
        flash.erase(0, 256).unwrap();
        if erase {
            flash.write(0, &[0x11; 256]).unwrap();
        }
        flash.cut_power_at(0, interruption, 9);
        let result = if erase { flash.erase(0, 256) } else { flash.write(0, &[0x11; 16]) };
        assert_eq!(result, Err(ChipError::PowerOff));
        assert_eq!(flash.read(0, &mut [0]), Err(ChipError::PowerOff));
        flash.power_on();
        flash
    };
    let image = |interruption, erase| interrupted(interruption, erase).image().to_vec();
    assert_eq!(image(Interruption::Nothing, false), [0xFF; 256]);
    assert_eq!(image(Interruption::Whole, false)[..9], [0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0xFF]);
    assert_eq!(image(Interruption::ButOne, false)[6..9], [0x11, 0xFF, 0xFF]);
    // The interrupted write may change only the bits that it clears. The other bits (mask 0x11) are still ones.
    assert!(image(Interruption::Bits, false)[..8].iter().all(|byte| byte & 0x11 == 0x11));
    assert_ne!(image(Interruption::Bits, false)[..8], [0x11; 8]);
    assert_eq!(image(Interruption::Nothing, true), [0x11; 256]);
    assert_eq!(image(Interruption::Zero, true), [0; 256]);
    assert_eq!(image(Interruption::TailZero, true)[127..129], [0x11, 0]);
    assert!(image(Interruption::AlmostErased, true).iter().filter(|byte| **byte != 0x11).count() <= 4);
    for (interruption, erase) in [(Interruption::Unreadable, false), (Interruption::Unreadable, true)] {
        assert_eq!(interrupted(interruption, erase).read(0, &mut [0; 8]), Err(ChipError::Unreadable));
    }
    for (interruption, erase) in
        [(Interruption::Unstable, false), (Interruption::OneUnstable, false), (Interruption::OneUnstable, true)]
    {
        let mut flash = interrupted(interruption, erase);
        assert!(flash.is_unstable());
        let mut reads = Vec::new();
        for _ in 0..40 {
            let mut bytes = [0; 256];
            flash.read(0, &mut bytes).unwrap();
            reads.push(bytes);
        }
        assert!(reads.iter().any(|bytes| bytes != &reads[0]), "{interruption}");
        flash.erase(0, 256).unwrap();
        assert!(!flash.is_unstable());
    }
}
