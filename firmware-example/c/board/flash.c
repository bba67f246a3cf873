/* The regions of the flash, and the rules of NOR flash, which the emulated devices do not enforce: a granule is programmed
 * at most once between two erases. Each operation consumes energy, so that the power can fail within it. */
#include "board.h"

enum { PROGRAM_ENERGY = 1, ERASE_ENERGY = 16 };

/* Returns whether a range of whole units is inside the flash. */
static int is_valid(uint32_t address, size_t len, uint32_t unit) {
    return address % unit == 0 && len % unit == 0 && address <= FLASH_SIZE && len <= FLASH_SIZE - address;
}

static int flash_read(void *context, uint32_t address, uint8_t *bytes, size_t len) {
    (void)context;
    return is_valid(address, len, 1) ? device_read(address, bytes, len) : -1;
}

/* Returns whether all bytes of a range have the value of erased flash. */
static int is_erased(uint32_t address, size_t len) {
    uint8_t bytes[32];
    while (len > 0) {
        size_t part = len < sizeof bytes ? len : sizeof bytes;
        if (device_read(address, bytes, part) != 0) return 0;
        for (size_t i = 0; i < part; i++) {
            if (bytes[i] != 0xff) return 0;
        }
        address += part;
        len -= part;
    }
    return 1;
}

static int flash_program(void *context, uint32_t address, const uint8_t *bytes, size_t len) {
    (void)context;
    if (!is_valid(address, len, WRITE_SIZE) || !is_erased(address, len)) return -1;
    if (device_seek(address) != 0) return -1;
    for (size_t done = 0; done < len; done += WRITE_SIZE) {
        if (device_program(address + done, bytes + done) != 0) return -1;
        power_spend(POWER_FAILED_IN_PROGRAM, PROGRAM_ENERGY);
    }
    return 0;
}

static int flash_erase(void *context, uint32_t address, uint32_t len) {
    (void)context;
    if (!is_valid(address, len, ERASE_SIZE)) return -1;
    if (device_seek(address) != 0) return -1;
    for (uint32_t done = 0; done < len; done += ERASE_UNIT) {
        if (device_erase(address + done) != 0) return -1;
        power_spend(POWER_FAILED_IN_ERASE, ERASE_ENERGY);
    }
    return 0;
}

const tm_flash latest_flash = {
    .read = flash_read, .program = flash_program, .erase = flash_erase,
    .start = 0, .size = LATEST_SLOTS * SLOT_SIZE, .slots = LATEST_SLOTS,
    .erase_size = ERASE_SIZE, .write_size = WRITE_SIZE, .read_size = 1,
};

const tm_flash best_flash = {
    .read = flash_read, .program = flash_program, .erase = flash_erase,
    .start = LATEST_SLOTS * SLOT_SIZE, .size = BEST_SLOTS * SLOT_SIZE, .slots = BEST_SLOTS,
    .erase_size = ERASE_SIZE, .write_size = WRITE_SIZE, .read_size = 1,
};
