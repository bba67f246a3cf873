/* Everything of the digits firmware: engine, guards, early stopping, timer, two checkpoint objects in flash, resume. */
#include "chip.h"

int program(void);

static tm_checkpoint best, latest;
static tm_engine engine;
static tm_nan_guard loss_guard;
static tm_weight_guard weight_guard;
static tm_early_stopping stopping;
static tm_timer timer;
volatile float loss;
volatile uint32_t ticks;

uint64_t now(void *context);
uint64_t now(void *context) {
    (void)context;
    return ticks;
}

int program(void) {
    static const tm_flash flashes[2] = {
        {.read = read_flash, .program = program_flash, .erase = erase_flash, .size = 3 * 4096, .slots = 3,
         .erase_size = 4096, .write_size = 8, .read_size = 1},
        {.read = read_flash, .program = program_flash, .erase = erase_flash, .start = 3 * 4096, .size = 2 * 4096, .slots = 2,
         .erase_size = 4096, .write_size = 8, .read_size = 1}};
    static const tm_checkpoint_config best_config = {
        .n_saved = 2, .score_name = "val_loss", .events = TM_EPOCH_COMPLETED, .score = TM_SCORE_METRIC_0 + TM_SCORE_NEGATED};
    static const tm_checkpoint_config latest_config = {.n_saved = 1, .interval = 1, .events = TM_EPOCH_COMPLETED};
    static const tm_guard_config loss_config = {.events = TM_ITERATION_COMPLETED};
    static const tm_guard_config weight_config = {.period = 38, .events = TM_ITERATION_COMPLETED};
    static const tm_early_stopping_config stopping_config = {
        .patience = 5, .events = TM_EPOCH_COMPLETED, .score = TM_SCORE_METRIC_0 + TM_SCORE_NEGATED};
    static const tm_timer_config timer_config = {.clock = {.now = now}, .start = TM_STARTED, .pause = TM_ITERATION_COMPLETED,
                                                 .resume = TM_ITERATION_STARTED, .step = TM_ITERATION_COMPLETED};
    static const tm_engine_config config = {.max_epochs = 60, .epoch_length = 38, .model = {objects, 1}};
    tm_resumed resumed;
    tm_loaded loaded;
    tm_status status = tm_engine_init(&engine, &config);
    tm_nan_guard_init(&loss_guard, &loss_config);
    tm_weight_guard_init(&weight_guard, &weight_config);
    tm_early_stopping_init(&stopping, &stopping_config);
    tm_timer_init(&timer, &timer_config, 0);
    tm_checkpoint_open_flash(&best, &best_config, &flashes[0]);
    tm_checkpoint_open_flash(&latest, &latest_config, &flashes[1]);
    tm_engine_attach_nan_guard(&engine, &loss_guard);
    tm_engine_attach_weight_guard(&engine, &weight_guard);
    tm_engine_attach_early_stopping(&engine, &stopping);
    tm_engine_attach_timer(&engine, &timer);
    if (tm_engine_attach_checkpoint(&engine, &best) != TM_OK) return 1;
    if (tm_engine_attach_checkpoint(&engine, &latest) != TM_OK) return 2;
    if (tm_engine_resume(&engine, &resumed) < 0) return 3;
    while ((status = tm_engine_begin_iteration(&engine)) == TM_OK) {
        if (tm_engine_is_last_in_epoch(&engine)) tm_engine_set_metric(&engine, 0, loss);
        tm_engine_end_iteration(&engine, loss);
    }
    return tm_checkpoint_load_best(&best, &model, &loaded);
}
