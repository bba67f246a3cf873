//! How deep the stack has been: painted before, looked at after.

const PAINT: u32 = 0x5AFE_57AC;
/// More than any call here needs. The free stack of some machines is megabytes.
const WORDS: usize = 2048;
/// Left alone above the painted words: what the painting itself stands on.
const MARGIN: usize = 32;

unsafe extern "C" {
    /// Where the runtime's linker script ends the statics; the stack comes down towards it.
    #[cfg_attr(target_arch = "arm", link_name = "__sheap")]
    #[cfg_attr(target_arch = "riscv32", link_name = "__ebss")]
    static mut END_OF_STATICS: u32;
}

/// A painted stack.
pub struct Painted {
    low: *mut u32,
    words: usize,
}

/// Paints the free stack below the caller.
#[inline(never)]
pub fn paint() -> Painted {
    let here = core::hint::black_box(0_u32);
    let top = (&raw const here).cast_mut().wrapping_sub(MARGIN);
    let end = &raw mut END_OF_STATICS;
    let words = (top.addr().saturating_sub(end.addr()) / size_of::<u32>()).min(WORDS);
    let low = top.wrapping_sub(words);
    for word in 0..words {
        // SAFETY: between the statics and this frame there is free stack and nothing else; MARGIN words below the
        // local above are left to this function itself. Interrupts, which would use that stack, are off.
        unsafe { low.add(word).write_volatile(PAINT) };
    }
    Painted { low, words }
}

impl Painted {
    /// Bytes of stack used below the caller of [`paint`] since it painted. Nothing is told of the first MARGIN words:
    /// less than those counts as those.
    #[inline(never)]
    pub fn depth(&self) -> usize {
        // SAFETY: as in `paint`; reading what was painted there or written over.
        let untouched = (0..self.words).take_while(|word| unsafe { self.low.add(*word).read_volatile() } == PAINT);
        (self.words - untouched.count() + MARGIN) * size_of::<u32>()
    }
}
