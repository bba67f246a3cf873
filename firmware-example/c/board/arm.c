/* The Cortex-M4F and the Cortex-M0: vectors, start-up, the flash in a file of the host, and SysTick. */
#include "board.h"
#include "semihosting.h"

/* The linker script defines these. */
extern uint32_t data_start[], data_end[], data_source[], bss_start[], bss_end[], stack_top[];

_Noreturn void reset(void);
_Noreturn static void fault(void) { board_exit(101); }

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)stack_top, (uintptr_t)reset,
    (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault, (uintptr_t)fault,
};

_Noreturn void reset(void) {
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xe000ed88 |= 0xf << 20; /* CPACR: enables the floating-point unit */
    __asm__ volatile("dsb\nisb");
#endif
    const uint32_t *source = data_source;
    for (uint32_t *word = data_start; word < data_end; word++) *word = *source++;
    for (uint32_t *word = bss_start; word < bss_end; word++) *word = 0;
    power_start();
    board_exit(device_open() == 0 ? program() : 102);
}

/* ---------------------------------------------------------------------------------------------------------- flash */

static uintptr_t file;

int device_seek(uint32_t address) { return semihosting(SYS_SEEK, (uintptr_t[]){file, address}) == 0 ? 0 : -1; }

static int write_file(const uint8_t *bytes, size_t len) {
    return semihosting(SYS_WRITE, (uintptr_t[]){file, (uintptr_t)bytes, len}) == 0 ? 0 : -1;
}

/* Opens the file, and extends a shorter one with erased bytes. */
int device_open(void) {
    enum { READ_WRITE = 3, CREATE = 7 };
    file = semihosting(SYS_OPEN, (const uintptr_t[]){(uintptr_t) "flash.img", READ_WRITE, 9});
    if (file == UINTPTR_MAX) file = semihosting(SYS_OPEN, (const uintptr_t[]){(uintptr_t) "flash.img", CREATE, 9});
    if (file == UINTPTR_MAX) return -1;
    for (uint32_t len = semihosting(SYS_FLEN, &file); len < FLASH_SIZE; len += ERASE_UNIT) {
        /* The last start may have been interrupted within a unit. */
        len -= len % ERASE_UNIT;
        if (device_seek(len) != 0 || device_erase(len) != 0) return -1;
    }
    return 0;
}

int device_read(uint32_t address, uint8_t *bytes, size_t len) {
    if (device_seek(address) != 0) return -1;
    return semihosting(SYS_READ, (uintptr_t[]){file, (uintptr_t)bytes, len}) == 0 ? 0 : -1;
}

int device_program(uint32_t address, const uint8_t *bytes) {
    (void)address;
    return write_file(bytes, WRITE_SIZE);
}

int device_erase(uint32_t address) {
    uint8_t erased[ERASE_UNIT];
    (void)address;
    for (int i = 0; i < ERASE_UNIT; i++) erased[i] = 0xff;
    return write_file(erased, ERASE_UNIT);
}

/* ------------------------------------------------------------------------------------------------------- counters */

/* SysTick counts down from 2^24 - 1, at 25 MHz on mps2-an386 and at 16 MHz on microbit. One instruction takes one
 * nanosecond. */
static volatile uint32_t *const systick = (volatile uint32_t *)0xe000e010;
enum { RELOAD = 0xffffff };

void counter_start(void) {
    systick[1] = RELOAD;
    systick[2] = 0;
    systick[0] = 5; /* enabled, clock of the processor */
}

uint32_t counter(void) { return RELOAD - systick[2]; }

uint32_t counter_elapsed(uint32_t before) {
    uint32_t ticks = (counter() - before) & RELOAD;
#if defined(__ARM_FP)
    return ticks * 40;
#else
    return (uint32_t)((uint64_t)ticks * 125 / 2);
#endif
}
