/* The RV32IMC: start-up, the NOR flash with the Intel command set, and the instruction counter. */
#include "board.h"

/* The linker script defines these. */
extern uint32_t bss_start[], bss_end[];

_Noreturn void start(void);

/* The emulator loads all sections to the RAM. */
__attribute__((naked, section(".text.start"), used)) _Noreturn void reset(void) {
    __asm__ volatile(".option push\n.option norelax\nla gp, __global_pointer$\n.option pop\n"
                     "la sp, stack_top\nla t0, trap\ncsrw mtvec, t0\nj start\n");
}

__attribute__((aligned(4), used)) _Noreturn void trap(void) { board_exit(101); }

__attribute__((used)) _Noreturn void start(void) {
    for (uint32_t *word = bss_start; word < bss_end; word++) *word = 0;
    power_start();
    board_exit(device_open() == 0 ? program() : 102);
}

/* ---------------------------------------------------------------------------------------------------------- flash */

/* Two chips of 16 bits form a word, so each command has two halves. */
#define BOTH(command) ((uint32_t)(command) << 16 | (uint32_t)(command))
static volatile uint32_t *const chips = (volatile uint32_t *)0x22000000;

/* Waits for the end of an operation, and returns to the mode for reading. */
static int finish(uint32_t word) {
    uint32_t status;
    do status = chips[word];
    while ((status & BOTH(0x80)) != BOTH(0x80));
    int failed = (status & BOTH(0x3a)) != 0;
    if (failed) chips[word] = BOTH(0x50);
    chips[word] = BOTH(0xff);
    return failed ? -1 : 0;
}

int device_open(void) {
    chips[0] = BOTH(0x98);
    int is_flash = chips[0x10] == BOTH('Q') && chips[0x11] == BOTH('R') && chips[0x12] == BOTH('Y');
    chips[0] = BOTH(0xff);
    return is_flash ? 0 : -1;
}

int device_read(uint32_t address, uint8_t *bytes, size_t len) {
    for (; len > 0; len--, address++) *bytes++ = (uint8_t)(chips[address / 4] >> address % 4 * 8);
    return 0;
}

/* Each command contains its address. */
int device_seek(uint32_t address) {
    (void)address;
    return 0;
}

int device_program(uint32_t address, const uint8_t *bytes) {
    uint32_t value = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    chips[address / 4] = BOTH(0x40);
    chips[address / 4] = value;
    return finish(address / 4);
}

int device_erase(uint32_t address) {
    chips[address / 4] = BOTH(0x20);
    chips[address / 4] = BOTH(0xd0);
    return finish(address / 4);
}

/* ------------------------------------------------------------------------------------------------------- counters */

void counter_start(void) {}

uint32_t counter(void) {
    uint32_t instructions;
    __asm__ volatile("csrr %0, minstret" : "=r"(instructions));
    return instructions;
}

uint32_t counter_elapsed(uint32_t before) { return counter() - before; }
