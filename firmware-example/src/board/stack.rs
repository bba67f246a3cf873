//! Measures the stack usage of a call. The program fills the free stack with a known pattern ("stack painting") before
//! the call, and counts the overwritten words after it.

const PATTERN: u32 = 0x5AFE_57AC;
/// Maximum number of painted words. It is more than any measured call needs; the free stack of some machines is
/// megabytes.
const MAX_WORDS: usize = 2048;
/// Number of words below the caller's frame that are not painted. The painting function itself uses them.
const MARGIN: usize = 32;

unsafe extern "C" {
    /// The symbol after the last static variable, from the linker script of the runtime. The stack grows down towards
    /// it.
    #[cfg_attr(target_arch = "arm", link_name = "__sheap")]
    #[cfg_attr(target_arch = "riscv32", link_name = "__ebss")]
    static mut END_OF_STATICS: u32;
}

/// A range of the stack that was filled with the pattern.
pub struct PaintedStack {
    low: *mut u32,
    words: usize,
}

/// Fills the free stack below the caller's frame with the pattern.
#[inline(never)]
pub fn paint() -> PaintedStack {
    let local = core::hint::black_box(0_u32);
    let top = (&raw const local).cast_mut().wrapping_sub(MARGIN);
    let end = &raw mut END_OF_STATICS;
    let words = (top.addr().saturating_sub(end.addr()) / size_of::<u32>()).min(MAX_WORDS);
    let low = top.wrapping_sub(words);
    for word in 0..words {
        // SAFETY: the range between the static variables and this frame is free stack. The frame of this function lies
        // within the `MARGIN` words below `local`, which the loop does not write. Interrupts, which would use the same
        // stack, are disabled.
        unsafe { low.add(word).write_volatile(PATTERN) };
    }
    PaintedStack { low, words }
}

impl PaintedStack {
    /// Bytes of stack that were used below the caller's frame since [`paint`] returned.
    ///
    /// The result is at least `MARGIN` words, because the words of the margin are not painted.
    ///
    /// # Panics
    /// Panics if the painted range was used up.
    #[inline(never)]
    pub fn depth(&self) -> usize {
        // SAFETY: `paint` created this value for a range of the free stack, and the closure only reads words of that
        // range.
        let untouched = (0..self.words).take_while(|word| unsafe { self.low.add(*word).read_volatile() } == PATTERN);
        let untouched = untouched.count();
        // Otherwise, the stack may have overwritten static variables, and the measured values mean nothing.
        assert!(untouched > 0, "the stack is full");
        (self.words - untouched + MARGIN) * size_of::<u32>()
    }
}
