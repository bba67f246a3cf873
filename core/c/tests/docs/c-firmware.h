/* What the page docs/c-firmware.md leaves to the program: the sizes, the flash driver and the training step. */
#include <stddef.h>
#include <stdint.h>

enum { COUNT = 64, BATCHES = 4 };

static float weights[COUNT];

int read_flash(void *context, uint32_t address, uint8_t *bytes, size_t len);
int program_flash(void *context, uint32_t address, const uint8_t *bytes, size_t len);
int erase_flash(void *context, uint32_t address, uint32_t len);
float train_step(uint32_t epoch, uint32_t offset);
float validation_loss(void);
