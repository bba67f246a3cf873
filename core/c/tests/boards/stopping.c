/* Only early stopping. */
#include "training_monitor.h"

int program(void);
static tm_early_stopping stopping;
volatile float score;

int program(void) {
    static const tm_early_stopping_config config = {.patience = 3};
    if (tm_early_stopping_init(&stopping, &config) != TM_OK) return 1;
    return tm_early_stopping_update(&stopping, score);
}
