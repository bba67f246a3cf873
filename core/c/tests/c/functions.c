/* Each function without an engine and a store, used as intended. */
#include "check.h"
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

int main(void) {
    CHECK(tm_version() == TM_VERSION);
    CHECK(strcmp(tm_strerror(TM_OK), "success") == 0 && strcmp(tm_strerror(-999), "unknown status") == 0);
    test_early_stopping();
    test_time();
    test_finite();
    test_limits();
    test_averages();
    test_clipping();
    test_schedules();
    test_policy();
    puts("all functions: passed");
    return 0;
}
