/* Only saving and loading of checkpoints in flash, without an engine. */
#include "chip.h"

int program(void);

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
