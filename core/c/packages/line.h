/* The model and the run of the examples: two weights learn the line y = 2 x + 1. The newest two checkpoints are kept, so that a
 * run that was interrupted continues after the next start. */
#ifndef LINE_H
#define LINE_H

#include <string.h>

#include "training_monitor.h"

enum { LINE_EPOCHS = 50, LINE_EPOCH_LENGTH = 5 };

static float line_weights[2];

static float line_step(uint32_t offset) {
    float x = (float)offset - 2.0f;
    float error = line_weights[0] * x + line_weights[1] - (2.0f * x + 1.0f);
    line_weights[0] -= 0.1f * error * x;
    line_weights[1] -= 0.1f * error;
    return error * error;
}

/* The settings of the checkpoint object, which the example opens in its flash or memory. */
static tm_checkpoint_config line_checkpoint_config(void) {
    tm_checkpoint_config config;
    memset(&config, 0, sizeof config);
    config.n_saved = 2;
    config.interval = 1;
    config.events = TM_EPOCH_COMPLETED;
    return config;
}

/* Resumes the run or starts it, and trains until its end. Writes the iteration at which it was resumed to `resumed_at`, or 0. */
static tm_status line_train(tm_checkpoint *latest, uint32_t *resumed_at) {
    static tm_engine engine;
    static tm_early_stopping stopping;
    static tm_tensor tensor;
    static tm_object object;
    tm_engine_config config;
    tm_early_stopping_config stop_after;
    tm_resumed resumed;
    tm_status status;

    tensor.name = "weights";
    tensor.data = line_weights;
    tensor.shape[0] = 2;
    tensor.rank = 1;
    tensor.kind = TM_F32;
    object.name = "line";
    object.tensors = &tensor;
    object.tensor_count = 1;
    memset(&config, 0, sizeof config);
    config.max_epochs = LINE_EPOCHS;
    config.epoch_length = LINE_EPOCH_LENGTH;
    config.model.objects = &object;
    config.model.object_count = 1;
    memset(&stop_after, 0, sizeof stop_after);
    stop_after.patience = 10;
    stop_after.mode = TM_MODE_MIN;
    stop_after.events = TM_EPOCH_COMPLETED;
    stop_after.score = TM_SCORE_OUTPUT;

    *resumed_at = 0;
    status = tm_engine_init(&engine, &config);
    if (status == TM_OK) status = tm_early_stopping_init(&stopping, &stop_after);
    if (status == TM_OK) status = tm_engine_attach_early_stopping(&engine, &stopping);
    if (status == TM_OK) status = tm_engine_attach_checkpoint(&engine, latest);
    if (status != TM_OK) return status;
    status = tm_engine_resume(&engine, &resumed);
    if (status == TM_OK) {
        *resumed_at = resumed.iteration;
    } else if (status != TM_NONE && status != TM_ERROR_NONE_LOADABLE) {
        return status;
    }
    while ((status = tm_engine_begin_iteration(&engine)) == TM_OK) {
        tm_engine_end_iteration(&engine, line_step(tm_engine_offset(&engine)));
    }
    return status;
}

#endif
