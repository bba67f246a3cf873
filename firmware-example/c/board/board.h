/* The emulated boards: start-up, console, exit, flash, power, and counters. A program for a real board replaces this folder.
 *
 * | board | machine of QEMU | flash |
 * | --- | --- | --- |
 * | m4f: Cortex-M4F | mps2-an386 | the file flash.img on the host |
 * | m0: Cortex-M0 | microbit | the same |
 * | rv32: RV32IMC | virt | the emulated NOR flash, which QEMU keeps in the file flash.img |
 *
 * The file survives when the emulator is killed. */
#ifndef BOARD_H
#define BOARD_H

#include "training_monitor.h"

/* The same geometry as in src/boards.rs. */
#if defined(__riscv)
#define BOARD_NAME "rv32"
enum { ERASE_SIZE = 256 * 1024, WRITE_SIZE = 4, SLOT_SIZE = 256 * 1024 };
#elif defined(__ARM_FP)
#define BOARD_NAME "m4f"
enum { ERASE_SIZE = 2048, WRITE_SIZE = 8, SLOT_SIZE = 24 * 1024 };
#else
#define BOARD_NAME "m0"
enum { ERASE_SIZE = 1024, WRITE_SIZE = 4, SLOT_SIZE = 8 * 1024 };
#endif

/* The regions of the flash: two slots for the latest checkpoint, three for the best ones. */
enum { LATEST_SLOTS = 2, BEST_SLOTS = 3, FLASH_SIZE = (LATEST_SLOTS + BEST_SLOTS) * SLOT_SIZE };
extern const tm_flash latest_flash, best_flash;

/* The program. The start-up code calls it; its result is the exit code of the emulator. */
int program(void);

_Noreturn void board_exit(int code);
void print(const char *text);
void print_number(uint32_t number);
/* Prints a number with four decimal places, rounded down. */
void print_fraction(float number);

/* The power supply fails when its energy is used up: the emulator ends at once, with one of these exit codes. The energy is
 * the last argument of the program; without an argument, the power never fails. */
typedef enum { POWER_FAILED_IN_STEP = 75, POWER_FAILED_IN_PROGRAM, POWER_FAILED_IN_ERASE } power_use;
void power_start(void);
void power_spend(power_use use, uint32_t energy);

/* The device of the flash, behind the rules of board/flash.c. The functions return 0 for success. A granule or a unit is
 * programmed or erased at the address of device_seek, or after the previous one. */
int device_open(void);
int device_read(uint32_t address, uint8_t *bytes, size_t len);
int device_seek(uint32_t address);
int device_program(uint32_t address, const uint8_t *bytes);
int device_erase(uint32_t address);
enum { ERASE_UNIT = ERASE_SIZE > 2048 ? ERASE_SIZE : 256 };

/* Instructions, if the emulator runs with `-icount shift=0`. */
void counter_start(void);
uint32_t counter(void);
uint32_t counter_elapsed(uint32_t before);

/* Fills the free stack with a pattern. */
void stack_paint(void);
/* Returns the number of bytes of stack below the caller that were used since stack_paint. */
uint32_t stack_depth(void);

#endif
