//! The panic handler of the static library. No code of this library can panic; the compiler still needs a handler.

#[cfg(feature = "link-time-panic-check")]
unsafe extern "C" {
    /// Does not exist. A program that contains a call of the panic handler does not link.
    fn training_monitor_code_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(feature = "link-time-panic-check")]
    // SAFETY: the function does not exist, so it is never called.
    unsafe {
        training_monitor_code_can_panic()
    }
    #[cfg(not(feature = "link-time-panic-check"))]
    loop {
        core::hint::spin_loop();
    }
}
