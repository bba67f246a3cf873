/* Semihosting: the emulator writes text, opens files, and exits. On a real board, a debug probe or a UART replaces it. */
#include "semihosting.h"

#include "board.h"

#if defined(__riscv)
/* The emulator recognizes three instructions, without compression and in one page. */
__attribute__((naked, noinline, aligned(16))) uintptr_t semihosting(uintptr_t operation, const void *argument) {
    __asm__ volatile(".option push\n.option norvc\nslli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\nret\n.option pop");
}
#else
uintptr_t semihosting(uintptr_t operation, const void *argument) {
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
#endif

_Noreturn void board_exit(int code) {
    const uintptr_t application_exit[2] = {0x20026, (uintptr_t)code};
    semihosting(SYS_EXIT_EXTENDED, application_exit);
    for (;;) {
    }
}

void print(const char *text) {
    enum { WRITE = 4 };
    static uintptr_t console = UINTPTR_MAX;
    size_t len = 0;
    while (text[len] != 0) len++;
    if (console == UINTPTR_MAX) console = semihosting(SYS_OPEN, (const uintptr_t[]){(uintptr_t) ":tt", WRITE, 3});
    semihosting(SYS_WRITE, (const uintptr_t[]){console, (uintptr_t)text, len});
}

void print_number(uint32_t number) {
    char text[11], *digit = text + 10;
    *digit = 0;
    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    print(digit);
}

void print_fraction(float number) {
    uint32_t parts = (uint32_t)(number * 10000.0f);
    print_number(parts / 10000);
    print(".");
    for (uint32_t unit = 1000; unit > 0; unit /= 10) print_number(parts / unit % 10);
}

/* ---------------------------------------------------------------------------------------------------------- power */

static uint32_t energy_left = UINT32_MAX;

void power_start(void) {
    static char line[256];
    struct {
        char *text;
        uintptr_t len;
    } argument = {line, sizeof line};
    if (semihosting(SYS_GET_CMDLINE, &argument) != 0) return;
    const char *last = NULL;
    for (const char *at = line; *at != 0; at++) last = *at == ' ' ? at + 1 : last;
    if (last == NULL) return;
    for (energy_left = 0; *last >= '0' && *last <= '9'; last++) energy_left = energy_left * 10 + (uint32_t)(*last - '0');
}

void power_spend(power_use use, uint32_t energy) {
    if (energy_left == UINT32_MAX) return;
    if (energy_left <= energy) board_exit(use);
    energy_left -= energy;
}
