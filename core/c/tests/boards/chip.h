/* The flash driver and the model of the programs for boards. The programs are only linked, so the chip does nothing. */
#include "training_monitor.h"

int read_flash(void *context, uint32_t address, uint8_t *bytes, size_t len);
int program_flash(void *context, uint32_t address, const uint8_t *bytes, size_t len);
int erase_flash(void *context, uint32_t address, uint32_t len);
volatile int chip;

int read_flash(void *context, uint32_t address, uint8_t *bytes, size_t len) {
    (void)context, (void)address, (void)bytes, (void)len;
    return chip;
}

int program_flash(void *context, uint32_t address, const uint8_t *bytes, size_t len) {
    (void)context, (void)address, (void)bytes, (void)len;
    return chip;
}

int erase_flash(void *context, uint32_t address, uint32_t len) {
    (void)context, (void)address, (void)len;
    return chip;
}

static float weights[64];
static const tm_tensor tensors[] = {{.name = "weights", .data = weights, .shape = {64}, .rank = 1, .kind = TM_F32}};
static const tm_object objects[] = {{.name = "model", .tensors = tensors, .tensor_count = 1}};
static const tm_model model = {objects, 1};
