/* Each function of the interface, used as intended. */
#include "check.h"
#include "flash.h"
#include "model.h"
#include <math.h>

static void test_early_stopping(void) {
    tm_early_stopping stopping = {{0}}, restored = {{0}};
    tm_early_stopping_config config;
    uint8_t state[TM_MAX_STATE];
    size_t len = 0;
    float best = 0.0f;
    memset(&config, 0, sizeof config);
    config.patience = 2;
    CHECK(tm_early_stopping_init(&stopping, &config) == TM_OK);
    CHECK(tm_early_stopping_best(&stopping, &best) == TM_NONE);
    CHECK(tm_early_stopping_update(&stopping, 1.0f) == TM_OK);
    CHECK(tm_early_stopping_update(&stopping, NAN) == TM_OK);
    CHECK(tm_early_stopping_counter(&stopping) == 1);
    CHECK(tm_early_stopping_best(&stopping, &best) == TM_OK && best == 1.0f);
    CHECK(tm_early_stopping_save(&stopping, state, sizeof state, &len) == TM_OK && len > 4);
    CHECK(tm_early_stopping_init(&restored, &config) == TM_OK);
    CHECK(tm_early_stopping_load(&restored, state, len) == TM_OK);
    CHECK(tm_early_stopping_update(&restored, 0.5f) == TM_STOP);
    CHECK(tm_early_stopping_update(&stopping, 2.0f) == TM_OK);
    CHECK(tm_early_stopping_reset(&stopping) == TM_OK);
    CHECK(tm_early_stopping_counter(&stopping) == 0 && tm_early_stopping_best(&stopping, &best) == TM_NONE);
    config.mode = TM_MODE_MIN;
    config.threshold = 0.5f;
    config.threshold_mode = TM_THRESHOLD_REL;
    config.has_baseline = 1;
    config.baseline = 3.0f;
    CHECK(tm_early_stopping_init(&stopping, &config) == TM_OK);
    CHECK(tm_early_stopping_update(&stopping, 8.0f) == TM_OK);
    CHECK(tm_early_stopping_counter(&stopping) == 1);
    CHECK(tm_early_stopping_update(&stopping, 1.0f) == TM_OK && tm_early_stopping_counter(&stopping) == 0);
}

static uint64_t clock_now(void *context) { return (*(uint64_t *)context)++; }

static void test_time(void) {
    uint64_t ticks = 100;
    tm_timer timer = {{0}};
    tm_timer_config config;
    tm_time_limit limit = {{0}};
    tm_time_limit_config limit_config;
    uint8_t state[TM_MAX_STATE];
    size_t len = 0;
    memset(&config, 0, sizeof config);
    memset(&limit_config, 0, sizeof limit_config);
    config.clock.now = clock_now;
    config.clock.context = &ticks;
    CHECK(tm_timer_init(&timer, &config, 100) == TM_OK);
    CHECK(tm_timer_pause(&timer, 150) == TM_OK && tm_timer_total(&timer) == 50);
    CHECK(tm_timer_resume(&timer, 1000) == TM_OK);
    CHECK(tm_timer_step(&timer) == TM_OK && tm_timer_step(&timer) == TM_OK && tm_timer_steps(&timer) == 2);
    CHECK(tm_timer_value(&timer, 1010) == 30);
    CHECK(tm_timer_pause(&timer, 1010) == TM_OK);
    CHECK(tm_timer_save(&timer, state, sizeof state, &len) == TM_OK);
    CHECK(tm_timer_reset(&timer, 5) == TM_OK && tm_timer_total(&timer) == 0 && tm_timer_steps(&timer) == 0);
    CHECK(tm_timer_load(&timer, state, len) == TM_OK && tm_timer_total(&timer) == 60);
    limit_config.limit = 10;
    limit_config.clock = config.clock;
    CHECK(tm_time_limit_init(&limit, &limit_config) == TM_OK);
    CHECK(tm_time_limit_start(&limit, 1000) == TM_OK);
    CHECK(tm_time_limit_update(&limit, 1010) == TM_OK && tm_time_limit_elapsed(&limit) == 10);
    CHECK(tm_time_limit_save(&limit, state, sizeof state, &len) == TM_OK);
    CHECK(tm_time_limit_update(&limit, 1011) == TM_STOP);
    CHECK(tm_time_limit_load(&limit, state, len) == TM_OK);
    CHECK(tm_time_limit_elapsed(&limit) >= 10);
}

static void test_finite(void) {
    float values[40] = {0};
    size_t index = 99, len = 0;
    uint8_t state[TM_MAX_STATE];
    tm_nan_guard guard = {{0}};
    tm_guard_config config = {0, 0, 0};
    CHECK(tm_check_finite(values, 40) == TM_OK && tm_check_finite(NULL, 0) == TM_OK);
    CHECK(tm_first_non_finite(values, 40, &index) == TM_NONE && index == 99);
    values[33] = INFINITY;
    CHECK(tm_check_finite(values, 40) == TM_STOP && tm_check_finite(values, 33) == TM_OK);
    CHECK(tm_first_non_finite(values, 40, &index) == TM_OK && index == 33);
    config.period = 2;
    CHECK(tm_nan_guard_init(&guard, &config) == TM_OK);
    CHECK(tm_nan_guard_update(&guard, values, 40) == TM_OK);
    CHECK(tm_nan_guard_save(&guard, state, sizeof state, &len) == TM_OK);
    CHECK(tm_nan_guard_update(&guard, values, 40) == TM_STOP);
    CHECK(tm_nan_guard_load(&guard, state, len) == TM_OK);
    CHECK(tm_nan_guard_update(&guard, values, 40) == TM_STOP);
}

static void test_limits(void) {
    tm_score_limits limits = {{0}};
    tm_score_limits_config config;
    uint32_t reason = 0;
    memset(&config, 0, sizeof config);
    config.mode = TM_MODE_MIN;
    config.has_target = 1;
    config.target = 0.1f;
    config.has_divergence_limit = 1;
    config.divergence_limit = 10.0f;
    CHECK(tm_score_limits_init(&limits, &config) == TM_OK);
    CHECK(tm_score_limits_update(&limits, 1.0f, &reason) == TM_NONE);
    CHECK(tm_score_limits_update(&limits, 0.05f, &reason) == TM_OK && reason == TM_REASON_TARGET_REACHED);
    CHECK(tm_score_limits_update(&limits, 11.0f, &reason) == TM_OK && reason == TM_REASON_DIVERGED);
    CHECK(tm_score_limits_update(&limits, NAN, &reason) == TM_OK && reason == TM_REASON_NON_FINITE);
}

static void test_averages(void) {
    tm_running_average average = {{0}};
    tm_running_average_config config;
    tm_weight_average ema = {{0}};
    tm_weight_average_config ema_config;
    float value = 0.0f, weights[2] = {0.0f, 1.0f}, averaged[2] = {9.0f, 9.0f};
    uint8_t state[TM_MAX_STATE];
    size_t len = 0;
    memset(&config, 0, sizeof config);
    memset(&ema_config, 0, sizeof ema_config);
    config.alpha = 0.5f;
    CHECK(tm_running_average_init(&average, &config) == TM_OK);
    CHECK(tm_running_average_value(&average, &value) == TM_NONE);
    CHECK(tm_running_average_update(&average, 4.0f) == TM_OK);
    CHECK(tm_running_average_update(&average, 2.0f) == TM_OK);
    CHECK(tm_running_average_value(&average, &value) == TM_OK && value == 3.0f);
    CHECK(tm_running_average_save(&average, state, sizeof state, &len) == TM_OK);
    CHECK(tm_running_average_update(&average, 99.0f) == TM_OK);
    CHECK(tm_running_average_load(&average, state, len) == TM_OK);
    CHECK(tm_running_average_value(&average, &value) == TM_OK && value == 3.0f);
    ema_config.momentum = 0.25f;
    CHECK(tm_weight_average_init(&ema, &ema_config) == TM_OK);
    CHECK(tm_weight_average_start(&ema, averaged, weights, 2) == TM_OK && averaged[1] == 1.0f);
    weights[0] = 4.0f;
    CHECK(tm_weight_average_update(&ema, averaged, weights, 2) == TM_OK && averaged[0] == 1.0f);
    CHECK(tm_weight_average_save(&ema, state, sizeof state, &len) == TM_OK);
    CHECK(tm_weight_average_load(&ema, state, len) == TM_OK);
    weights[0] = NAN;
    CHECK(tm_weight_average_update(&ema, averaged, weights, 2) == TM_STOP && averaged[0] == 1.0f);
    weights[0] = 4.0f;
    CHECK(tm_weight_average_swap(averaged, weights, 2) == TM_OK && averaged[0] == 4.0f && weights[0] == 1.0f);
}

/* An engine updates the object that is the average of another one. */
static void test_attached_average(void) {
    tm_engine engine = {{0}};
    tm_engine_config config;
    tm_weight_average ema = {{0}};
    tm_weight_average_config ema_config;
    tm_tensor tensors[2];
    tm_object objects[2];
    tm_model model, other;
    float weights[2] = {0.0f, 8.0f}, average[2] = {9.0f, 9.0f};
    model_init(&other, &objects[1], &tensors[1], "w", average, 2);
    model_init(&model, &objects[0], &tensors[0], "w", weights, 2);
    objects[1].name = "average";
    objects[1].average_of = &objects[0];
    model.object_count = 2;
    memset(&config, 0, sizeof config);
    memset(&ema_config, 0, sizeof ema_config);
    config.max_epochs = 1;
    config.epoch_length = 4;
    config.model = model;
    ema_config.momentum = 0.5f;
    ema_config.events = TM_ITERATION_COMPLETED;
    ema_config.every = 2;
    CHECK(tm_engine_init(&engine, &config) == TM_OK);
    CHECK(tm_weight_average_init(&ema, &ema_config) == TM_OK);
    CHECK(tm_engine_attach_weight_average(&engine, &ema) == TM_OK);
    CHECK(tm_engine_attach_weight_average(&engine, &ema) == TM_ERROR_HANDLERS);
    while (tm_engine_begin_iteration(&engine) == TM_OK) {
        CHECK(tm_engine_iteration(&engine) > 1 || average[1] == 8.0f);
        weights[0] += 1.0f;
        tm_engine_end_iteration(&engine, 0.0f);
    }
    CHECK(average[0] == 0.5f * (0.5f * 2.0f) + 0.5f * 4.0f && average[1] == 8.0f);

    /* The tensors of the average are not those of the weights. */
#define NO_PAIR(change)                                       \
    model_init(&other, &objects[1], &tensors[1], "w", average, 2); \
    objects[1].average_of = &objects[0];                      \
    change;                                                   \
    CHECK(tm_engine_init(&engine, &config) == TM_OK);             \
    CHECK(tm_engine_attach_weight_average(&engine, &ema) == TM_ERROR_MODEL)
    NO_PAIR(tensors[1].shape[0] = 1);
    NO_PAIR(tensors[1].kind = TM_U32);
    NO_PAIR(objects[1].tensor_count = 0);
    NO_PAIR(tensors[1].data = weights);
    NO_PAIR(objects[1].average_of = NULL);
}

static void test_clipping(void) {
    float first[2] = {3.0f, 0.0f}, second[1] = {-4.0f}, norm = 0.0f;
    tm_tensor tensors[2];
    tm_object gradient;
    tm_model model;
    model_init(&model, &gradient, &tensors[1], "b", second, 1);
    model_init(&model, &gradient, &tensors[0], "a", first, 2);
    gradient.tensor_count = 2;
    CHECK(tm_clip_norm(&gradient, 10.0f, &norm) == TM_OK && norm == 5.0f && first[0] == 3.0f);
    CHECK(tm_clip_values(&gradient, 3.5f) == TM_OK && first[0] == 3.0f && second[0] == -3.5f);
    second[0] = -4.0f;
    CHECK(tm_clip_norm(&gradient, 2.5f, &norm) == TM_OK && norm == 5.0f);
    CHECK(first[0] > 1.49f && first[0] < 1.5f && second[0] < -1.99f && second[0] > -2.0f && first[1] == 0.0f);
    first[1] = NAN;
    CHECK(tm_clip_norm(&gradient, 1.0f, &norm) == TM_OK && isnan(norm) && first[0] > 1.49f);
    CHECK(tm_clip_values(&gradient, 1.0f) == TM_OK && isnan(first[1]) && first[0] == 1.0f && second[0] == -1.0f);
    CHECK(tm_clip_norm(&gradient, 0.0f, &norm) == TM_ERROR_SETTING);
    CHECK(tm_clip_values(&gradient, INFINITY) == TM_ERROR_SETTING);
    CHECK(tm_clip_norm(NULL, 1.0f, &norm) == TM_ERROR_NULL && tm_clip_values(NULL, 1.0f) == TM_ERROR_NULL);
    CHECK(tm_clip_norm(&gradient, 1.0f, NULL) == TM_ERROR_NULL);
}

static void test_schedules(void) {
    float value = 0.0f;
    static const uint32_t milestones[2] = {2, 4};
    tm_plateau plateau = {{0}};
    tm_plateau_config config;
    uint8_t state[TM_MAX_STATE];
    size_t len = 0;
    CHECK(tm_step_decay(1.0f, 2, 0.5f, 5, &value) == TM_OK && value == 0.25f);
    CHECK(tm_multi_step(1.0f, milestones, 2, 0.5f, 4, &value) == TM_OK && value == 0.25f);
    CHECK(tm_exponential(1.0f, 0.5f, 3, &value) == TM_OK && value == 0.125f);
    CHECK(tm_linear(1.0f, 0.5f, 1.0f, 4, 2, &value) == TM_OK && value == 0.75f);
    CHECK(tm_polynomial(1.0f, 1.0f, 4, 1, &value) == TM_OK && value == 0.75f);
    CHECK(tm_cosine(1.0f, 0.0f, 10, 5, &value) == TM_OK && fabsf(value - 0.5f) < 1e-6f);
    CHECK(tm_cosine_restarts(1.0f, 0.0f, 10, 2, 10, &value) == TM_OK && value == 1.0f);
    CHECK(tm_one_cycle(1.0f, 10, 0, &value) == TM_OK && fabsf(value - 0.04f) < 1e-6f);
    CHECK(tm_cyclic(0.0f, 1.0f, 4, 4, 2, &value) == TM_OK && value == 0.5f);
    memset(&config, 0, sizeof config);
    config.value = 1.0f;
    config.factor = 0.5f;
    config.mode = TM_MODE_MIN;
    CHECK(tm_plateau_init(&plateau, &config) == TM_OK && tm_plateau_value(&plateau) == 1.0f);
    CHECK(tm_plateau_update(&plateau, 3.0f) == TM_OK && tm_plateau_update(&plateau, 3.0f) == TM_OK);
    CHECK(tm_plateau_value(&plateau) == 0.5f);
    CHECK(tm_plateau_save(&plateau, state, sizeof state, &len) == TM_OK);
    CHECK(tm_plateau_update(&plateau, 3.0f) == TM_OK && tm_plateau_value(&plateau) == 0.25f);
    CHECK(tm_plateau_load(&plateau, state, len) == TM_OK && tm_plateau_value(&plateau) == 0.5f);
}

static void test_policy(void) {
    tm_policy policy = {{0}};
    tm_checkpoint_config config;
    tm_decision decision = {0, 0.0f}, evicted = {0, 0.0f};
    memset(&config, 0, sizeof config);
    config.n_saved = 2;
    CHECK(tm_policy_init(&policy, &config) == TM_OK);
    CHECK(tm_policy_best(&policy, &decision) == TM_NONE && tm_policy_latest(&policy, &decision) == TM_NONE);
    CHECK(tm_policy_update(&policy, 0.1f, &decision) == TM_OK && decision.step == 1 && decision.score == 0.1f);
    CHECK(tm_policy_commit(&policy, &decision, &evicted) == TM_NONE);
    CHECK(tm_policy_update(&policy, 0.5f, &decision) == TM_OK);
    CHECK(tm_policy_commit(&policy, &decision, &evicted) == TM_NONE);
    CHECK(tm_policy_update(&policy, NAN, &decision) == TM_NONE);
    CHECK(tm_policy_update(&policy, 0.3f, &decision) == TM_OK && decision.step == 4);
    CHECK(tm_policy_commit(&policy, &decision, &evicted) == TM_OK && evicted.step == 1);
    CHECK(tm_policy_best(&policy, &decision) == TM_OK && decision.step == 2);
    CHECK(tm_policy_latest(&policy, &decision) == TM_OK && decision.step == 4);
    CHECK(tm_policy_kept(&policy, 0, &decision) == TM_OK && decision.step == 4);
    CHECK(tm_policy_kept(&policy, 2, &decision) == TM_NONE);
    config.interval = 2;
    config.n_saved = 1;
    CHECK(tm_policy_init(&policy, &config) == TM_OK);
    decision.step = 8;
    decision.score = NAN;
    CHECK(tm_policy_restore(&policy, &decision, &evicted) == TM_NONE);
    CHECK(tm_policy_update(&policy, NAN, &decision) == TM_NONE);
    CHECK(tm_policy_update(&policy, NAN, &decision) == TM_OK && decision.step == 10 && isnan(decision.score));
    CHECK(tm_policy_commit(&policy, &decision, &evicted) == TM_OK && evicted.step == 8);
}

/* All weights of a network in one block, as in AIfES: one tensor, one call per epoch. The checkpoints are in a flash, or in a
 * memory with pages of this size. */
static void test_checkpoint(uint32_t page_size) {
    static float parameters[32];
    tm_tensor tensor;
    tm_object object;
    tm_model model;
    tm_checkpoint best = {{0}};
    tm_checkpoint_config config;
    chip c;
    tm_flash flash;
    tm_memory memory;
    tm_loaded loaded = {0, 0, 0.0f};
    tm_decision decision = {0, 0.0f};
    uint32_t epoch, len = 0;
    static const float losses[5] = {0.5f, 0.25f, 0.75f, 0.125f, 0.5f};
    model_init(&model, &object, &tensor, "parameters", parameters, 32);
    memset(&config, 0, sizeof config);
    config.n_saved = 2;
    config.score_name = "loss";
    chip_init(&c, &flash);
    chip_as_memory(&c, &memory);
    memory.page_size = page_size;
#define OPEN() (page_size ? tm_checkpoint_open_memory(&best, &config, &memory) : tm_checkpoint_open_flash(&best, &config, &flash))
    CHECK(tm_measure(&model, &len) == TM_OK && len > sizeof parameters && len < sizeof parameters + 128);
    CHECK(OPEN() == TM_OK);
    CHECK(tm_checkpoint_best(&best, &decision) == TM_NONE && tm_checkpoint_latest(&best, &decision) == TM_NONE);
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_NONE);
    for (epoch = 1; epoch <= 5; epoch++) {
        parameters[0] = (float)epoch;
        while (tm_checkpoint_erase_ahead(&best, len) == TM_OK) {
        }
        CHECK(tm_checkpoint_save(&best, &model, epoch, -losses[epoch - 1], epoch * 10) == TM_OK);
        CHECK(tm_checkpoint_last_error(&best) == TM_OK);
    }
    CHECK(tm_checkpoint_best(&best, &decision) == TM_OK && decision.step == 4 && decision.score == -0.125f);
    CHECK(tm_checkpoint_latest(&best, &decision) == TM_OK && decision.step == 4);
    CHECK(tm_checkpoint_kept(&best, 0, &decision) == TM_OK && decision.step == 2);
    CHECK(tm_checkpoint_kept(&best, 2, &decision) == TM_NONE);
    CHECK(tm_checkpoint_erases(&best, 0) > 0 && tm_checkpoint_erases(&best, 9) == 0);
    /* After a reset. */
    memset(&best, 0, sizeof best);
    CHECK(OPEN() == TM_OK);
    memset(parameters, 0, sizeof parameters);
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_OK);
    CHECK(loaded.step == 4 && loaded.iteration == 40 && loaded.score == -0.125f && parameters[0] == 4.0f);
    CHECK(tm_checkpoint_load_step(&best, &model, 2, &loaded) == TM_OK && parameters[0] == 2.0f);
    CHECK(tm_checkpoint_load_step(&best, &model, 77, &loaded) == TM_NONE && parameters[0] == 2.0f);
    CHECK(tm_checkpoint_erase_all(&best) == TM_OK);
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_NONE);
    CHECK((page_size ? tm_checkpoint_erase_memory(&memory) : tm_checkpoint_erase_flash(&flash)) == TM_OK);
    CHECK(c.bytes[0] == (page_size ? 0x00 : 0xff) && c.bytes[3 * BLOCK] == 0xa5);
}

typedef struct {
    uint32_t events[256];
    size_t count;
    tm_engine *engine;
    uint32_t action;
    uint32_t action_at;
} recorder;

static uint32_t record(void *context, const tm_event *event) {
    recorder *r = (recorder *)context;
    CHECK(r->count < 256);
    r->events[r->count++] = event->event;
    /* The engine is in use. */
    CHECK(tm_engine_begin_iteration(r->engine) == TM_ERROR_BUSY);
    CHECK(tm_engine_terminate(r->engine, TM_REASON_USER) == TM_ERROR_BUSY);
    return event->event == TM_ITERATION_COMPLETED && event->iteration == r->action_at ? r->action : TM_ACTION_CONTINUE;
}

static void test_engine(void) {
    float weight = 0.0f;
    uint64_t seed = 7;
    tm_tensor tensor;
    tm_object objects[2];
    tm_engine_config config;
    tm_engine engine = {{0}};
    tm_callback callback = {{0}};
    tm_callback_config callback_config;
    tm_running_average average = {{0}};
    tm_running_average_config average_config;
    tm_plateau plateau = {{0}};
    tm_plateau_config plateau_config;
    tm_score_limits limits = {{0}};
    tm_score_limits_config limits_config;
    tm_outcome outcome = {0, 0, 0};
    tm_resumed resumed;
    recorder r;
    float value;
    static const uint32_t expected[] = {
        TM_STARTED, TM_EPOCH_STARTED, TM_ITERATION_STARTED, TM_ITERATION_COMPLETED, TM_ITERATION_STARTED,
        TM_ITERATION_COMPLETED, TM_EPOCH_COMPLETED, TM_EPOCH_STARTED, TM_ITERATION_STARTED, TM_ITERATION_COMPLETED,
        TM_TERMINATE_SINGLE_EPOCH, TM_EPOCH_COMPLETED, TM_COMPLETED};
    memset(&tensor, 0, sizeof tensor);
    memset(objects, 0, sizeof objects);
    memset(&config, 0, sizeof config);
    memset(&callback_config, 0, sizeof callback_config);
    memset(&average_config, 0, sizeof average_config);
    memset(&plateau_config, 0, sizeof plateau_config);
    memset(&limits_config, 0, sizeof limits_config);
    memset(&r, 0, sizeof r);
    tensor.name = "weight";
    tensor.data = &weight;
    objects[0].name = "model";
    objects[0].tensors = &tensor;
    objects[0].tensor_count = 1;
    objects[1].name = "seed";
    objects[1].number = &seed;
    config.max_epochs = 2;
    config.epoch_length = 2;
    config.model.objects = objects;
    config.model.object_count = 2;
    CHECK(tm_engine_init(&engine, &config) == TM_OK);
    r.engine = &engine;
    r.action = TM_ACTION_TERMINATE_EPOCH;
    r.action_at = 3;
    callback_config.function = record;
    callback_config.context = &r;
    callback_config.events = 0xffffffffu;
    average_config.alpha = 0.5f;
    average_config.events = TM_ITERATION_COMPLETED;
    plateau_config.value = 1.0f;
    plateau_config.factor = 0.5f;
    plateau_config.events = TM_EPOCH_COMPLETED;
    limits_config.events = TM_ITERATION_COMPLETED;
    CHECK(tm_callback_init(&callback, &callback_config) == TM_OK);
    CHECK(tm_running_average_init(&average, &average_config) == TM_OK);
    CHECK(tm_plateau_init(&plateau, &plateau_config) == TM_OK);
    CHECK(tm_score_limits_init(&limits, &limits_config) == TM_OK);
    CHECK(tm_engine_attach_callback(&engine, &callback) == TM_OK);
    CHECK(tm_engine_attach_callback(&engine, &callback) == TM_ERROR_HANDLERS);
    CHECK(tm_engine_attach_running_average(&engine, &average) == TM_OK);
    CHECK(tm_engine_attach_plateau(&engine, &plateau) == TM_OK);
    CHECK(tm_engine_attach_score_limits(&engine, &limits) == TM_OK);
    CHECK(tm_engine_resume(&engine, &resumed) == TM_NONE);
    CHECK(tm_engine_epoch(&engine) == 0 && tm_engine_iteration(&engine) == 0);
    while (tm_engine_begin_iteration(&engine) == TM_OK) {
        CHECK(tm_engine_begin_iteration(&engine) == TM_ERROR_NOT_ENDED);
        CHECK(tm_engine_offset(&engine) == (tm_engine_iteration(&engine) - 1) % 2);
        CHECK(tm_engine_is_last_in_epoch(&engine) == (tm_engine_iteration(&engine) == 2));
        CHECK(tm_engine_set_metric(&engine, TM_METRICS - 1, 1.0f) == TM_OK);
        tm_engine_end_iteration(&engine, (float)tm_engine_iteration(&engine));
    }
    CHECK(r.count == sizeof expected / sizeof expected[0] && memcmp(r.events, expected, sizeof expected) == 0);
    CHECK(tm_engine_outcome(&engine, &outcome) == TM_OK);
    CHECK(outcome.reason == TM_REASON_MAX_EPOCHS && outcome.epoch == 2 && outcome.iteration == 3);
    CHECK(tm_running_average_value(&average, &value) == TM_OK && value == 2.25f);
    CHECK(tm_engine_attach_callback(&engine, &callback) == TM_ERROR_STARTED);

    /* A second run, which a handler and the program end. */
    CHECK(tm_engine_restart(&engine) == TM_OK);
    CHECK(tm_engine_outcome(&engine, &outcome) == TM_NONE);
    r.action_at = 0;
    r.count = 0;
    CHECK(tm_engine_begin_iteration(&engine) == TM_OK);
    CHECK(tm_engine_interrupt(&engine) == TM_OK);
    CHECK(tm_engine_end_iteration(&engine, 1.0f) != TM_ERROR_BUSY);
    CHECK(tm_engine_begin_iteration(&engine) == TM_STOP && r.events[r.count - 1] == TM_INTERRUPT);
    CHECK(tm_engine_begin_iteration(&engine) == TM_OK);
    CHECK(tm_engine_terminate_epoch(&engine) == TM_OK);
    CHECK(tm_engine_end_iteration(&engine, 1.0f) == TM_OK && tm_engine_epoch(&engine) == 1);
    CHECK(tm_engine_begin_iteration(&engine) == TM_OK && tm_engine_epoch(&engine) == 2);
    CHECK(tm_engine_terminate(&engine, TM_REASON_USER + 5) == TM_OK);
    CHECK(tm_engine_end_iteration(&engine, 1.0f) == TM_STOP);
    CHECK(tm_engine_outcome(&engine, &outcome) == TM_OK && outcome.reason == TM_REASON_USER + 5);

    /* Data of unknown length, and a score that is not finite. */
    config.epoch_length = 0;
    CHECK(tm_engine_init(&engine, &config) == TM_OK);
    CHECK(tm_engine_attach_score_limits(&engine, &limits) == TM_OK);
    CHECK(tm_engine_begin_iteration(&engine) == TM_OK && tm_engine_is_last_in_epoch(&engine) == 0);
    CHECK(tm_engine_end_iteration(&engine, 1.0f) == TM_OK);
    CHECK(tm_engine_end_data(&engine) == TM_OK);
    CHECK(tm_engine_set_max_epochs(&engine, 3) == TM_OK);
    CHECK(tm_engine_begin_iteration(&engine) == TM_OK && tm_engine_is_last_in_epoch(&engine) == 1);
    CHECK(tm_engine_end_iteration(&engine, NAN) == TM_STOP);
    CHECK(tm_engine_outcome(&engine, &outcome) == TM_OK && outcome.reason == TM_REASON_NON_FINITE);
}

typedef struct {
    uint8_t bytes[1024];
    size_t len, at;
    int fail;
} stream;

static int stream_write(void *context, const uint8_t *bytes, size_t len) {
    stream *s = (stream *)context;
    if (s->fail || len > sizeof s->bytes - s->len) return 1;
    memcpy(s->bytes + s->len, bytes, len);
    s->len += len;
    return 0;
}

static ptrdiff_t stream_read(void *context, uint8_t *bytes, size_t len) {
    stream *s = (stream *)context;
    size_t rest = s->len - s->at, count = len < 7 ? len : 7;
    if (s->fail) return -1;
    if (count > rest) count = rest;
    memcpy(bytes, s->bytes + s->at, count);
    s->at += count;
    return (ptrdiff_t)count;
}

static int stream_rewind(void *context) {
    ((stream *)context)->at = 0;
    return 0;
}

static void test_streams(void) {
    static uint8_t bytes[12] = {1, 2, 3};
    static double number = 2.5;
    static uint8_t flags[3] = {1, 0, 1};
    tm_tensor tensors[3];
    tm_object object;
    tm_model model;
    tm_engine engine = {{0}};
    tm_engine_config config;
    tm_early_stopping stopping = {{0}};
    tm_early_stopping_config stopping_config;
    stream s;
    tm_writer writer;
    tm_reader reader;
    tm_loaded loaded;
    uint32_t len = 0;
    memset(tensors, 0, sizeof tensors);
    memset(&object, 0, sizeof object);
    memset(&s, 0, sizeof s);
    memset(&stopping_config, 0, sizeof stopping_config);
    tensors[0].name = "bytes";
    tensors[0].data = bytes;
    tensors[0].shape[0] = 3;
    tensors[0].shape[1] = 4;
    tensors[0].rank = 2;
    tensors[0].kind = TM_U8;
    tensors[1].name = "number";
    tensors[1].data = &number;
    tensors[1].kind = TM_F64;
    tensors[2].name = "flags";
    tensors[2].data = flags;
    tensors[2].shape[0] = 3;
    tensors[2].rank = 1;
    tensors[2].kind = TM_BOOL;
    object.name = "model";
    object.tensors = tensors;
    object.tensor_count = 3;
    model.objects = &object;
    model.object_count = 1;
    config.max_epochs = 2;
    config.epoch_length = 2;
    config.model = model;
    stopping_config.patience = 4;
    stopping_config.events = TM_ITERATION_COMPLETED;
    writer.context = &s;
    writer.write = stream_write;
    reader.context = &s;
    reader.read = stream_read;
    reader.rewind = stream_rewind;
    CHECK(tm_engine_init(&engine, &config) == TM_OK);
    CHECK(tm_early_stopping_init(&stopping, &stopping_config) == TM_OK);
    CHECK(tm_engine_attach_early_stopping(&engine, &stopping) == TM_OK);
    CHECK(tm_engine_begin_iteration(&engine) == TM_OK && tm_engine_end_iteration(&engine, 1.0f) == TM_OK);
    CHECK(tm_engine_begin_iteration(&engine) == TM_OK && tm_engine_end_iteration(&engine, 0.5f) == TM_OK);
    CHECK(tm_save(&writer, &model, 3, &engine, &len) == TM_OK && len == s.len);

    bytes[0] = 99;
    number = 0.0;
    flags[1] = 1;
    CHECK(tm_engine_init(&engine, &config) == TM_OK);
    CHECK(tm_early_stopping_init(&stopping, &stopping_config) == TM_OK);
    CHECK(tm_engine_attach_early_stopping(&engine, &stopping) == TM_OK);
    CHECK(tm_load(&reader, &model, &engine, &loaded) == TM_OK);
    CHECK(loaded.step == 3 && loaded.iteration == 2 && isnan(loaded.score));
    CHECK(bytes[0] == 1 && number == 2.5 && flags[1] == 0);
    CHECK(tm_early_stopping_counter(&stopping) == 1 && tm_engine_epoch(&engine) == 1);
    CHECK(tm_engine_begin_iteration(&engine) == TM_OK && tm_engine_epoch(&engine) == 2);

    bytes[0] = 98;
    CHECK(tm_load_bytes(s.bytes, s.len, &model, NULL, &loaded) == TM_OK && bytes[0] == 1);
    bytes[0] = 97;
    s.bytes[s.len - 9] ^= 1;
    CHECK(tm_load_bytes(s.bytes, s.len, &model, NULL, &loaded) == TM_ERROR_DAMAGED && bytes[0] == 97);
    s.bytes[s.len - 9] ^= 1;
    CHECK(tm_load_bytes(s.bytes, s.len - 1, &model, NULL, &loaded) == TM_ERROR_DAMAGED && bytes[0] == 97);
    tensors[0].shape[0] = 2;
    CHECK(tm_load_bytes(s.bytes, s.len, &model, NULL, &loaded) == TM_ERROR_OTHER_MODEL && bytes[0] == 97);
    tensors[0].shape[0] = 3;
    s.fail = 1;
    CHECK(tm_load(&reader, &model, NULL, &loaded) == TM_ERROR_DEVICE && bytes[0] == 97);
    s.fail = 0;
    /* Another handler, or a checkpoint without an engine. */
    CHECK(tm_engine_init(&engine, &config) == TM_OK);
    CHECK(tm_load_bytes(s.bytes, s.len, &model, &engine, &loaded) == TM_ERROR_OTHER_HANDLERS && bytes[0] == 97);
    s.len = 0;
    CHECK(tm_save(&writer, &model, 4, NULL, &len) == TM_OK);
    CHECK(tm_load_bytes(s.bytes, s.len, &model, &engine, &loaded) == TM_ERROR_STATE);
    s.fail = 1;
    CHECK(tm_save(&writer, &model, 4, NULL, &len) == TM_ERROR_DEVICE);
}

int main(void) {
    CHECK(tm_version() == TM_VERSION);
    CHECK(strcmp(tm_strerror(TM_OK), "success") == 0 && strcmp(tm_strerror(-999), "unknown status") == 0);
    test_early_stopping();
    test_time();
    test_finite();
    test_limits();
    test_averages();
    test_attached_average();
    test_clipping();
    test_schedules();
    test_policy();
    test_checkpoint(0);
    test_checkpoint(1);
    test_checkpoint(256);
    test_engine();
    test_streams();
    puts("all functions: passed");
    return 0;
}
