/* Only saving and loading of checkpoints in flash, without an engine. */
#include "training_monitor.h"

int program(void);
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
static tm_checkpoint best;

int program(void) {
    static const tm_flash flash = {.read = read_flash, .program = program_flash, .erase = erase_flash, .size = 3 * 4096,
                                   .slots = 3, .erase_size = 4096, .write_size = 8, .read_size = 1};
    static const tm_checkpoint_config config = {.n_saved = 2};
    tm_loaded loaded;
    if (tm_checkpoint_open_flash(&best, &config, &flash) != TM_OK) return 1;
    if (tm_checkpoint_load_best(&best, &model, &loaded) < 0) return 2;
    return tm_checkpoint_save(&best, &model, 1, 0.5f, 1);
}
