/* The training run of src/monitored.rs in C: all handlers, and the latest and the best checkpoints in flash.
 *
 * After a power failure, the program resumes from the newest checkpoint. The flash ends with the same bytes as that of the
 * program `train` in Rust. */
#include "board/board.h"
#include "digits.h"

enum { SEED = 1, MAX_EPOCHS = 60, PATIENCE = 5 };

/* ---------------------------------------------------------------------------------------------------------- model */

/* Everything that a training step changes. The gradients are scratch memory. */
static parameters net, velocity, gradient;
static float learning_rate, momentum, decay;
static uint64_t seed;

#define LAYERS(p)                                                                                       \
    {.name = "fc1.weight", .data = (p).w1, .shape = {HIDDEN, PIXELS}, .rank = 2, .kind = TM_F32},       \
        {.name = "fc1.bias", .data = (p).b1, .shape = {HIDDEN}, .rank = 1, .kind = TM_F32},             \
        {.name = "fc2.weight", .data = (p).w2, .shape = {CLASSES, HIDDEN}, .rank = 2, .kind = TM_F32},  \
        {.name = "fc2.bias", .data = (p).b2, .shape = {CLASSES}, .rank = 1, .kind = TM_F32}

static const tm_tensor network_tensors[] = {LAYERS(net)};
static const tm_tensor optimizer_tensors[] = {
    LAYERS(velocity),
    {.name = "learning_rate", .data = &learning_rate, .kind = TM_F32},
    {.name = "momentum", .data = &momentum, .kind = TM_F32},
    {.name = "decay", .data = &decay, .kind = TM_F32},
};
static const tm_object objects[] = {
    {.name = "model", .tensors = network_tensors, .tensor_count = 4, .is_guarded = 1},
    {.name = "optimizer", .tensors = optimizer_tensors, .tensor_count = 7},
    {.name = "seed", .number = &seed},
};
static const tm_model model = {objects, 3};

static void init_trainee(void) {
    seed = SEED;
    network_init(&net, SEED);
    velocity = (parameters){0};
    learning_rate = 0.2f;
    momentum = 0.5f;
    decay = 0.95f;
}

/* SGD with momentum, as in PyTorch. */
static float train_step(uint32_t epoch, uint32_t offset) {
    float loss = network_gradient(&net, &gradient, (uint32_t)seed, epoch, offset);
    float *weights = (float *)&net, *velocities = (float *)&velocity;
    const float *gradients = (const float *)&gradient;
    for (int i = 0; i < PARAMETERS; i++) {
        velocities[i] = momentum * velocities[i] + gradients[i] * (1.0f / BATCH);
        weights[i] -= learning_rate * velocities[i];
    }
    if (offset == BATCHES - 1) learning_rate *= decay;
    return loss;
}

/* ------------------------------------------------------------------------------------------------------------ run */

static tm_engine engine;
static tm_nan_guard loss_guard;
static tm_weight_guard weight_guard;
static tm_early_stopping stopping;
static tm_timer timer;
static tm_checkpoint best, latest;
static uint64_t steps;

/* One tick is one training step, so that all boards write the same checkpoints. */
static uint64_t now(void *context) {
    (void)context;
    return steps;
}

/* Initializes the engine and its objects. Returns the first error. */
static tm_status attach(void) {
    static const tm_engine_config run = {.max_epochs = MAX_EPOCHS, .epoch_length = BATCHES, .model = {objects, 3}};
    static const tm_guard_config each_loss = {.events = TM_ITERATION_COMPLETED};
    static const tm_guard_config weights_in_stripes = {.period = BATCHES, .events = TM_ITERATION_COMPLETED};
    static const tm_early_stopping_config patience = {
        .patience = PATIENCE, .events = TM_EPOCH_COMPLETED, .score = TM_SCORE_METRIC_0 + TM_SCORE_NEGATED};
    static const tm_timer_config step_time = {
        .clock = {.now = now}, .start = TM_STARTED, .pause = TM_ITERATION_COMPLETED | TM_COMPLETED,
        .resume = TM_ITERATION_STARTED, .step = TM_ITERATION_COMPLETED};
    static const tm_checkpoint_config keep_best = {
        .n_saved = BEST_SLOTS - 1, .score_name = "val_loss", .events = TM_EPOCH_COMPLETED,
        .score = TM_SCORE_METRIC_0 + TM_SCORE_NEGATED};
    static const tm_checkpoint_config keep_latest = {
        .n_saved = LATEST_SLOTS - 1, .interval = 1, .events = TM_EPOCH_COMPLETED | TM_INTERRUPT};
    tm_status status;

    if ((status = tm_engine_init(&engine, &run)) != TM_OK) return status;
    if ((status = tm_nan_guard_init(&loss_guard, &each_loss)) != TM_OK) return status;
    if ((status = tm_weight_guard_init(&weight_guard, &weights_in_stripes)) != TM_OK) return status;
    if ((status = tm_early_stopping_init(&stopping, &patience)) != TM_OK) return status;
    if ((status = tm_timer_init(&timer, &step_time, 0)) != TM_OK) return status;
    if ((status = tm_checkpoint_open_flash(&best, &keep_best, &best_flash)) != TM_OK) return status;
    if ((status = tm_checkpoint_open_flash(&latest, &keep_latest, &latest_flash)) != TM_OK) return status;
    if ((status = tm_engine_attach_nan_guard(&engine, &loss_guard)) != TM_OK) return status;
    if ((status = tm_engine_attach_weight_guard(&engine, &weight_guard)) != TM_OK) return status;
    if ((status = tm_engine_attach_early_stopping(&engine, &stopping)) != TM_OK) return status;
    if ((status = tm_engine_attach_timer(&engine, &timer)) != TM_OK) return status;
    if ((status = tm_engine_attach_checkpoint(&engine, &best)) != TM_OK) return status;
    return tm_engine_attach_checkpoint(&engine, &latest);
}

/* Resumes the run, or prepares a new one. */
static tm_status resume(void) {
    tm_resumed resumed;
    tm_loaded loaded;
    tm_status status = tm_engine_resume(&engine, &resumed);
    switch (status) {
    case TM_OK:
        print("resumed after iteration ");
        print_number(resumed.iteration);
        print("\n");
        return TM_OK;
    case TM_NONE:
    case TM_ERROR_NONE_LOADABLE: /* A device has no operator who could decide, so the run starts over. */
        break;
    case TM_ERROR_DEVICE:
    case TM_ERROR_UNREADABLE:
        return status;
    default: /* Another program has saved. The new run starts with its weights. */
        tm_checkpoint_load_best(&latest, &model, &loaded);
    }
    print("started a new run\n");
    return TM_OK;
}

static tm_status train(void) {
    tm_status status;
    tm_outcome outcome;
    tm_loaded loaded;

    init_trainee();
    if ((status = attach()) != TM_OK) return status;
    if ((status = resume()) != TM_OK) return status;
    while ((status = tm_engine_begin_iteration(&engine)) == TM_OK) {
        power_spend(POWER_FAILED_IN_STEP, 16);
        float loss = train_step(tm_engine_epoch(&engine), tm_engine_offset(&engine));
        steps++;
        if (tm_engine_is_last_in_epoch(&engine)) {
            metrics validation = network_evaluate(&net, VALIDATION);
            tm_engine_set_metric(&engine, 0, validation.loss);
            print("epoch ");
            print_number(tm_engine_epoch(&engine));
            print(": loss ");
            print_fraction(validation.loss);
            print("\n");
        }
        tm_engine_end_iteration(&engine, loss);
    }
    if (status < 0) return status;

    if ((status = tm_engine_outcome(&engine, &outcome)) != TM_OK) return status;
    if ((status = tm_checkpoint_load_best(&best, &model, &loaded)) != TM_OK) return status;
    metrics test = network_evaluate(&net, TEST);
    print(outcome.reason == TM_REASON_EARLY_STOPPING ? "early stopping" : "stopped");
    print(" after epoch ");
    print_number(outcome.epoch);
    print("; ");
    print_number(tm_timer_steps(&timer));
    print(" steps, the best is ");
    print_number(loaded.step);
    print("\ntest: loss ");
    print_fraction(test.loss);
    print(", accuracy ");
    print_fraction((float)test.correct / TEST_IMAGES);
    print("\n");
    return TM_OK;
}

int program(void) {
    tm_status status = train();
    if (status == TM_OK) return 0;
    print("the run failed: ");
    print(tm_strerror(status));
    print("\n");
    return 1;
}
