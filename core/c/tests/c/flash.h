/* A flash in RAM, whose functions can fail. */
#ifndef FLASH_H
#define FLASH_H
#include <string.h>
#include "training_monitor.h"

enum { BLOCK = 1024, BLOCKS = 4 };

typedef struct {
    uint8_t bytes[BLOCKS * BLOCK];
    unsigned calls;      /* the number of calls of program and erase */
    unsigned fail_at;    /* the call that fails, starting at 1; 0: none */
    int fail_all;        /* whether all later calls fail, too */
    int lose_bytes;      /* whether program returns success but writes only the first half */
    int fail_reads;
} chip;

static int chip_read(void *context, uint32_t address, uint8_t *bytes, size_t len) {
    chip *c = (chip *)context;
    if (c->fail_reads) return -1;
    memcpy(bytes, c->bytes + address, len);
    return 0;
}

static int chip_fails(chip *c) {
    c->calls++;
    return c->fail_at != 0 && (c->calls == c->fail_at || (c->fail_all && c->calls > c->fail_at));
}

static int chip_program(void *context, uint32_t address, const uint8_t *bytes, size_t len) {
    chip *c = (chip *)context;
    if (chip_fails(c)) return 5;
    memcpy(c->bytes + address, bytes, c->lose_bytes ? len / 2 : len);
    return 0;
}

static int chip_erase(void *context, uint32_t address, uint32_t len) {
    chip *c = (chip *)context;
    if (chip_fails(c)) return 6;
    memset(c->bytes + address, 0xff, len);
    return 0;
}

static inline void chip_init(chip *c, tm_flash *flash) {
    memset(c, 0, sizeof *c);
    memset(c->bytes, 0xa5, sizeof c->bytes);
    memset(flash, 0, sizeof *flash);
    flash->context = c;
    flash->read = chip_read;
    flash->program = chip_program;
    flash->erase = chip_erase;
    flash->size = 3 * BLOCK;
    flash->slots = 3;
    flash->erase_size = BLOCK;
    flash->write_size = 4;
    flash->read_size = 1;
}

/* Describes the same chip as byte-addressable memory. */
static inline void chip_as_memory(chip *c, tm_memory *memory) {
    memset(memory, 0, sizeof *memory);
    memory->context = c;
    memory->read = chip_read;
    memory->write = chip_program;
    memory->size = 3 * BLOCK;
    memory->slots = 3;
    memory->page_size = 16;
}
#endif
