/* A program that is linked against each archive of the package. */
#include "line.h"

uint8_t memory_bytes[3 * 512];

static int read_memory(void *context, uint32_t address, uint8_t *bytes, size_t len) {
    memcpy(bytes, (uint8_t *)context + address, len);
    return 0;
}

static int write_memory(void *context, uint32_t address, const uint8_t *bytes, size_t len) {
    memcpy((uint8_t *)context + address, bytes, len);
    return 0;
}

int program(void);
int program(void) {
    static const tm_memory memory = {
        .context = memory_bytes, .read = read_memory, .write = write_memory,
        .size = sizeof memory_bytes, .slots = 3, .page_size = 1,
    };
    static tm_checkpoint latest;
    const tm_checkpoint_config config = line_checkpoint_config();
    uint32_t resumed_at = 0;
    tm_status status = tm_checkpoint_open_memory(&latest, &config, &memory);
    return status == TM_OK ? line_train(&latest, &resumed_at) : status;
}
