/* A training run in C: early stopping, a guard against NaN, and the best two checkpoints in flash.
 *
 * The flash of this example is an array. On a board, its three functions call the driver of the flash. The run is
 * interrupted after some iterations, as if the power had failed, and then resumes. It ends with the same weights as an
 * uninterrupted run.
 *
 *   cargo build --release -p training-monitor-c
 *   cc -std=c99 -I core/c/include core/c/examples/training.c target/release/libtraining_monitor_c.a -lpthread -ldl -lm
 */
#include <stdio.h>
#include <string.h>
#include "training_monitor.h"

/* ------------------------------------------------------------------------------------------------------ flash */

enum { BLOCK = 1024, SLOTS = 3 };
static uint8_t chip[SLOTS * BLOCK];

static int read_flash(void *context, uint32_t address, uint8_t *bytes, size_t len) {
    (void)context;
    memcpy(bytes, chip + address, len);
    return 0;
}

static int program_flash(void *context, uint32_t address, const uint8_t *bytes, size_t len) {
    (void)context;
    memcpy(chip + address, bytes, len);
    return 0;
}

static int erase_flash(void *context, uint32_t address, uint32_t len) {
    (void)context;
    memset(chip + address, 0xff, len);
    return 0;
}

static const tm_flash flash = {
    .read = read_flash, .program = program_flash, .erase = erase_flash,
    .start = 0, .size = sizeof chip, .slots = SLOTS,
    .erase_size = BLOCK, .write_size = 4, .read_size = 4,
};

/* ------------------------------------------------------------------------------------------------------ model */

/* Two weights, which learn the line y = 2 x + 1, and the velocity of their optimizer. */
static float weights[2], velocity[2];

static const tm_tensor weight_tensors[] = {{.name = "line.weight", .data = weights, .shape = {2}, .rank = 1, .kind = TM_F32}};
static const tm_tensor velocity_tensors[] = {{.name = "velocity", .data = velocity, .shape = {2}, .rank = 1, .kind = TM_F32}};
static const tm_object objects[] = {
    {.name = "model", .tensors = weight_tensors, .tensor_count = 1, .is_guarded = 1},
    {.name = "optimizer", .tensors = velocity_tensors, .tensor_count = 1},
};

static float train_step(uint32_t iteration) {
    float x = (float)(iteration % 5) - 2.0f;
    float error = weights[0] * x + weights[1] - (2.0f * x + 1.0f);
    float gradient[2] = {error * x, error};
    for (int i = 0; i < 2; i++) {
        velocity[i] = 0.5f * velocity[i] + gradient[i];
        weights[i] -= 0.05f * velocity[i];
    }
    return error * error;
}

static float validate(void) {
    float loss = 0.0f;
    for (int x = -2; x <= 2; x++) {
        float error = weights[0] * (float)x + weights[1] - (2.0f * (float)x + 1.0f);
        loss += error * error;
    }
    return loss / 5.0f;
}

/* -------------------------------------------------------------------------------------------------------- run */

/* Trains until the run is over, or until `steps` steps are done, as if the power failed then. Returns the status of the
 * engine. */
static tm_status train(unsigned steps, tm_outcome *outcome) {
    /* The engine and its objects can also be static. */
    tm_engine engine;
    tm_early_stopping stopping;
    tm_nan_guard loss_guard;
    tm_weight_guard weight_guard;
    tm_checkpoint best;
    tm_resumed resumed;

    tm_engine_config engine_config = {.max_epochs = 100, .epoch_length = 10, .model = {objects, 2}};
    tm_early_stopping_config stopping_config = {
        .patience = 3, .mode = TM_MODE_MIN, .events = TM_EPOCH_COMPLETED, .score = TM_SCORE_METRIC_0};
    tm_guard_config loss_config = {.events = TM_ITERATION_COMPLETED};
    tm_guard_config weight_config = {.period = 2, .events = TM_ITERATION_COMPLETED};
    tm_checkpoint_config best_config = {
        .n_saved = 2, .score_name = "val_loss", .events = TM_EPOCH_COMPLETED, .score = TM_SCORE_METRIC_0 + TM_SCORE_NEGATED};

    memset(weights, 0, sizeof weights);
    memset(velocity, 0, sizeof velocity);

    /* A program can check only the last status: the functions refuse an object whose init function has failed. */
    tm_status status = tm_engine_init(&engine, &engine_config);
    tm_early_stopping_init(&stopping, &stopping_config);
    tm_nan_guard_init(&loss_guard, &loss_config);
    tm_weight_guard_init(&weight_guard, &weight_config);
    tm_checkpoint_open_flash(&best, &best_config, &flash);
    if (status == TM_OK) status = tm_engine_attach_early_stopping(&engine, &stopping);
    if (status == TM_OK) status = tm_engine_attach_nan_guard(&engine, &loss_guard);
    if (status == TM_OK) status = tm_engine_attach_weight_guard(&engine, &weight_guard);
    if (status == TM_OK) status = tm_engine_attach_checkpoint(&engine, &best);
    if (status != TM_OK) return status;

    status = tm_engine_resume(&engine, &resumed);
    if (status == TM_OK) {
        printf("resumed after iteration %lu\n", (unsigned long)resumed.iteration);
    } else if (status != TM_NONE) {
        return status;
    }

    while (steps-- > 0 && (status = tm_engine_begin_iteration(&engine)) == TM_OK) {
        float loss = train_step(tm_engine_iteration(&engine));
        if (tm_engine_is_last_in_epoch(&engine)) {
            tm_engine_set_metric(&engine, 0, validate());
        }
        status = tm_engine_end_iteration(&engine, loss);
    }
    if (status == TM_STOP) {
        status = tm_engine_outcome(&engine, outcome);
    }
    return status;
}

int main(void) {
    tm_outcome outcome = {0, 0, 0}, uninterrupted;
    float expected[2];

    if (tm_version() != TM_VERSION) return 2;
    memset(chip, 0xa5, sizeof chip);
    tm_status status = train(10000, &uninterrupted);
    if (status != TM_OK) {
        fprintf(stderr, "training: %s\n", tm_strerror(status));
        return 1;
    }
    memcpy(expected, weights, sizeof weights);

    /* The power fails every 37 iterations. */
    memset(chip, 0xa5, sizeof chip);
    while (outcome.reason == TM_REASON_NONE) {
        status = train(37, &outcome);
        if (status < 0) {
            fprintf(stderr, "training: %s\n", tm_strerror(status));
            return 1;
        }
    }
    printf("reason %lu in epoch %lu, weights %g %g\n", (unsigned long)outcome.reason, (unsigned long)outcome.epoch,
           (double)weights[0], (double)weights[1]);
    if (memcmp(expected, weights, sizeof weights) != 0 || memcmp(&outcome, &uninterrupted, sizeof outcome) != 0) {
        fprintf(stderr, "the interrupted run ended differently\n");
        return 1;
    }
    return 0;
}
