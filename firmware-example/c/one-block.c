/* A program in the way of AIfES: all weights are in one block of parameters, and one call trains for one epoch.
 *
 * The block is one tensor, and an epoch is one iteration of the engine. A program that uses AIfES passes its parameter
 * memory as the block (aialgo_distribute_parameter_memory), and calls aialgo_train_model in train_epoch. */
#include "board/board.h"
#include "digits.h"

enum { SEED = 1, MAX_EPOCHS = 25, PATIENCE = 4 };

static union {
    parameters net;
    float block[PARAMETERS];
} weights;

static const tm_tensor tensors[] = {
    {.name = "parameters", .data = weights.block, .shape = {PARAMETERS}, .rank = 1, .kind = TM_F32},
};
static const tm_object objects[] = {{.name = "model", .tensors = tensors, .tensor_count = 1, .is_guarded = 1}};
static const tm_model model = {objects, 1};

/* Trains with all batches, with plain SGD. Depends only on the weights and the number of the epoch. */
static float train_epoch(uint32_t epoch) {
    static union {
        parameters net;
        float block[PARAMETERS];
    } gradient;
    float loss = 0.0f, learning_rate = 0.3f / (1.0f + 0.05f * (float)epoch);
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        power_spend(POWER_FAILED_IN_STEP, 16);
        loss += network_gradient(&weights.net, &gradient.net, SEED, epoch, batch);
        for (int i = 0; i < PARAMETERS; i++) weights.block[i] -= learning_rate / BATCH * gradient.block[i];
    }
    return loss / BATCHES;
}

static tm_status train(void) {
    static tm_engine engine;
    static tm_early_stopping stopping;
    static tm_nan_guard guard;
    static tm_checkpoint latest, best;
    static const tm_engine_config run = {.max_epochs = MAX_EPOCHS, .epoch_length = 1, .model = {objects, 1}};
    static const tm_early_stopping_config patience = {
        .patience = PATIENCE, .mode = TM_MODE_MIN, .events = TM_EPOCH_COMPLETED, .score = TM_SCORE_METRIC_0};
    static const tm_guard_config each_epoch = {.events = TM_ITERATION_COMPLETED};
    static const tm_checkpoint_config keep_latest = {
        .n_saved = LATEST_SLOTS - 1, .interval = 1, .events = TM_EPOCH_COMPLETED};
    static const tm_checkpoint_config keep_best = {
        .n_saved = BEST_SLOTS - 1, .score_name = "val_loss", .events = TM_EPOCH_COMPLETED,
        .score = TM_SCORE_METRIC_0 + TM_SCORE_NEGATED};
    tm_resumed resumed;
    tm_loaded loaded;
    tm_outcome outcome;
    tm_status status;

    network_init(&weights.net, SEED);
    tm_engine_init(&engine, &run);
    tm_early_stopping_init(&stopping, &patience);
    tm_nan_guard_init(&guard, &each_epoch);
    if ((status = tm_checkpoint_open_flash(&latest, &keep_latest, &latest_flash)) != TM_OK) return status;
    if ((status = tm_checkpoint_open_flash(&best, &keep_best, &best_flash)) != TM_OK) return status;
    if ((status = tm_engine_attach_nan_guard(&engine, &guard)) != TM_OK) return status;
    if ((status = tm_engine_attach_early_stopping(&engine, &stopping)) != TM_OK) return status;
    if ((status = tm_engine_attach_checkpoint(&engine, &best)) != TM_OK) return status;
    if ((status = tm_engine_attach_checkpoint(&engine, &latest)) != TM_OK) return status;
    status = tm_engine_resume(&engine, &resumed);
    if (status < 0 && status != TM_ERROR_NONE_LOADABLE) return status;

    while ((status = tm_engine_begin_iteration(&engine)) == TM_OK) {
        float loss = train_epoch(tm_engine_epoch(&engine));
        tm_engine_set_metric(&engine, 0, network_evaluate(&weights.net, VALIDATION).loss);
        tm_engine_end_iteration(&engine, loss);
    }
    if (status < 0) return status;

    if ((status = tm_engine_outcome(&engine, &outcome)) != TM_OK) return status;
    if ((status = tm_checkpoint_load_best(&best, &model, &loaded)) != TM_OK) return status;
    metrics test = network_evaluate(&weights.net, TEST);
    print("one block: ");
    print_number(outcome.epoch);
    print(" epochs, the best is ");
    print_number(loaded.step);
    print(", accuracy ");
    print_fraction((float)test.correct / TEST_IMAGES);
    print("\n");
    return TM_OK;
}

int program(void) {
    tm_status status = train();
    if (status == TM_OK) return 0;
    print(tm_strerror(status));
    print("\n");
    return 1;
}
