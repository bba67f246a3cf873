/* Wrong use of the interface: each call returns an error and changes nothing. */
#include "check.h"
#include "fixture.h"
#include <math.h>

/* Each kind of object, used without a successful init function: `fill` is the value of its bytes. */
static void use_uninitialized(unsigned char fill) {
    static union {
        tm_early_stopping stopping;
        tm_timer timer;
        tm_time_limit limit;
        tm_nan_guard guard;
        tm_weight_guard weight_guard;
        tm_score_limits limits;
        tm_running_average average;
        tm_weight_average ema;
        tm_plateau plateau;
        tm_policy policy;
        tm_checkpoint checkpoint;
        tm_callback callback;
    } u;
    static tm_engine engine, good;
    tm_engine_config config;
    uint8_t state[TM_MAX_STATE];
    size_t len = 0;
    float value = 7.0f;
    uint32_t reason = 7;
    tm_decision decision = {7, 7.0f};
    tm_loaded loaded;
    tm_outcome outcome;
    tm_resumed resumed;
    tm_position position;
    memset(&u, fill, sizeof u);
    memset(&engine, fill, sizeof engine);
    config.max_epochs = 1;
    config.epoch_length = 1;
    config.model = model;
    CHECK(tm_engine_init(&good, &config) == TM_OK);
#define REFUSED(call) CHECK((call) == TM_ERROR_NOT_INITIALIZED)
    REFUSED(tm_early_stopping_update(&u.stopping, 1.0f));
    REFUSED(tm_early_stopping_best(&u.stopping, &value));
    REFUSED(tm_early_stopping_reset(&u.stopping));
    REFUSED(tm_early_stopping_save(&u.stopping, state, sizeof state, &len));
    REFUSED(tm_early_stopping_load(&u.stopping, state, sizeof state));
    CHECK(tm_early_stopping_counter(&u.stopping) == 0);
    REFUSED(tm_timer_reset(&u.timer, 0));
    REFUSED(tm_timer_pause(&u.timer, 0));
    REFUSED(tm_timer_resume(&u.timer, 0));
    REFUSED(tm_timer_step(&u.timer));
    REFUSED(tm_timer_save(&u.timer, state, sizeof state, &len));
    REFUSED(tm_timer_load(&u.timer, state, sizeof state));
    CHECK(tm_timer_total(&u.timer) == 0 && tm_timer_value(&u.timer, 9) == 0 && tm_timer_steps(&u.timer) == 0);
    REFUSED(tm_time_limit_start(&u.limit, 0));
    REFUSED(tm_time_limit_update(&u.limit, 0));
    REFUSED(tm_time_limit_save(&u.limit, state, sizeof state, &len));
    REFUSED(tm_time_limit_load(&u.limit, state, sizeof state));
    CHECK(tm_time_limit_elapsed(&u.limit) == 0);
    REFUSED(tm_nan_guard_update(&u.guard, weights, 8));
    REFUSED(tm_nan_guard_save(&u.guard, state, sizeof state, &len));
    REFUSED(tm_nan_guard_load(&u.guard, state, sizeof state));
    REFUSED(tm_weight_guard_position(&u.weight_guard, &position));
    REFUSED(tm_score_limits_update(&u.limits, 1.0f, &reason));
    REFUSED(tm_running_average_update(&u.average, 1.0f));
    REFUSED(tm_running_average_value(&u.average, &value));
    REFUSED(tm_running_average_save(&u.average, state, sizeof state, &len));
    REFUSED(tm_running_average_load(&u.average, state, sizeof state));
    REFUSED(tm_weight_average_start(&u.ema, weights, weights + 4, 4));
    REFUSED(tm_weight_average_update(&u.ema, weights, weights + 4, 4));
    REFUSED(tm_weight_average_save(&u.ema, state, sizeof state, &len));
    REFUSED(tm_weight_average_load(&u.ema, state, sizeof state));
    REFUSED(tm_plateau_update(&u.plateau, 1.0f));
    REFUSED(tm_plateau_save(&u.plateau, state, sizeof state, &len));
    REFUSED(tm_plateau_load(&u.plateau, state, sizeof state));
    CHECK(isnan(tm_plateau_value(&u.plateau)));
    REFUSED(tm_policy_update(&u.policy, 1.0f, &decision));
    REFUSED(tm_policy_commit(&u.policy, &decision, &decision));
    REFUSED(tm_policy_restore(&u.policy, &decision, &decision));
    REFUSED(tm_policy_best(&u.policy, &decision));
    REFUSED(tm_policy_latest(&u.policy, &decision));
    REFUSED(tm_policy_kept(&u.policy, 0, &decision));
    REFUSED(tm_checkpoint_save(&u.checkpoint, &model, 1, 1.0f, 1));
    REFUSED(tm_checkpoint_load_best(&u.checkpoint, &model, &loaded));
    REFUSED(tm_checkpoint_load_step(&u.checkpoint, &model, 1, &loaded));
    REFUSED(tm_checkpoint_best(&u.checkpoint, &decision));
    REFUSED(tm_checkpoint_latest(&u.checkpoint, &decision));
    REFUSED(tm_checkpoint_kept(&u.checkpoint, 0, &decision));
    REFUSED(tm_checkpoint_last_error(&u.checkpoint));
    REFUSED(tm_checkpoint_erase_all(&u.checkpoint));
    REFUSED(tm_checkpoint_erase_ahead(&u.checkpoint, 10));
    CHECK(tm_checkpoint_erases(&u.checkpoint, 0) == 0);
    REFUSED(tm_engine_attach_early_stopping(&good, &u.stopping));
    REFUSED(tm_engine_attach_timer(&good, &u.timer));
    REFUSED(tm_engine_attach_time_limit(&good, &u.limit));
    REFUSED(tm_engine_attach_nan_guard(&good, &u.guard));
    REFUSED(tm_engine_attach_weight_guard(&good, &u.weight_guard));
    REFUSED(tm_engine_attach_score_limits(&good, &u.limits));
    REFUSED(tm_engine_attach_running_average(&good, &u.average));
    REFUSED(tm_engine_attach_weight_average(&good, &u.ema));
    REFUSED(tm_engine_attach_plateau(&good, &u.plateau));
    REFUSED(tm_engine_attach_checkpoint(&good, &u.checkpoint));
    REFUSED(tm_engine_attach_callback(&good, &u.callback));
    REFUSED(tm_engine_begin_iteration(&engine));
    REFUSED(tm_engine_end_iteration(&engine, 1.0f));
    REFUSED(tm_engine_end_data(&engine));
    REFUSED(tm_engine_set_metric(&engine, 0, 1.0f));
    REFUSED(tm_engine_terminate(&engine, TM_REASON_USER));
    REFUSED(tm_engine_terminate_epoch(&engine));
    REFUSED(tm_engine_interrupt(&engine));
    REFUSED(tm_engine_restart(&engine));
    REFUSED(tm_engine_set_max_epochs(&engine, 1));
    REFUSED(tm_engine_outcome(&engine, &outcome));
    REFUSED(tm_engine_resume(&engine, &resumed));
    CHECK(tm_engine_epoch(&engine) == 0 && tm_engine_iteration(&engine) == 0);
    CHECK(tm_engine_offset(&engine) == 0 && tm_engine_is_last_in_epoch(&engine) == 0);
    CHECK(value == 7.0f && reason == 7 && decision.step == 7);
}

static void test_pointers(void) {
    static union {
        uint64_t words[32];
        unsigned char bytes[256];
    } memory;
    tm_early_stopping stopping = {{0}};
    tm_early_stopping_config config;
    float best = 7.0f;
    size_t len = 0;
    uint8_t state[TM_MAX_STATE];
    /* A pointer at an odd address, without a cast that a compiler would reject. */
    void *odd = memory.bytes + 1;
    memset(&config, 0, sizeof config);
    config.patience = 1;
    CHECK(tm_early_stopping_init(NULL, &config) == TM_ERROR_NULL);
    CHECK(tm_early_stopping_init(&stopping, NULL) == TM_ERROR_NULL);
    CHECK(tm_early_stopping_init((tm_early_stopping *)odd, &config) == TM_ERROR_MISALIGNED);
    CHECK(tm_early_stopping_update(NULL, 1.0f) == TM_ERROR_NULL);
    CHECK(tm_early_stopping_update((tm_early_stopping *)odd, 1.0f) == TM_ERROR_MISALIGNED);
    CHECK(tm_early_stopping_init(&stopping, &config) == TM_OK);
    CHECK(tm_early_stopping_update(&stopping, 1.0f) == TM_OK);
    CHECK(tm_early_stopping_best(&stopping, NULL) == TM_ERROR_NULL);
    CHECK(tm_early_stopping_best(&stopping, (float *)odd) == TM_ERROR_MISALIGNED);
    CHECK(tm_early_stopping_save(&stopping, NULL, 16, &len) == TM_ERROR_NULL);
    CHECK(tm_early_stopping_save(&stopping, state, sizeof state, NULL) == TM_ERROR_NULL);
    CHECK(tm_check_finite(NULL, 3) == TM_ERROR_NULL);
    CHECK(tm_check_finite((const float *)odd, 3) == TM_ERROR_MISALIGNED);
    CHECK(tm_check_finite(&best, (size_t)-1) == TM_ERROR_SETTING);
    CHECK(tm_engine_begin_iteration(NULL) == TM_ERROR_NULL && tm_engine_epoch(NULL) == 0);
    CHECK(tm_step_decay(1.0f, 1, 0.5f, 1, NULL) == TM_ERROR_NULL);
    CHECK(tm_multi_step(1.0f, NULL, 2, 0.5f, 1, &best) == TM_ERROR_NULL);
    /* An init function that fails makes the object unusable. */
    config.patience = 0;
    CHECK(tm_early_stopping_init(&stopping, &config) == TM_ERROR_SETTING);
    CHECK(tm_early_stopping_update(&stopping, 1.0f) == TM_ERROR_NOT_INITIALIZED);
    CHECK(best == 7.0f);
}

static void test_settings(void) {
    tm_early_stopping stopping;
    tm_early_stopping_config config;
    tm_time_limit limit;
    tm_time_limit_config limit_config;
    tm_running_average average;
    tm_running_average_config average_config;
    tm_weight_average ema;
    tm_weight_average_config ema_config;
    tm_score_limits limits;
    tm_score_limits_config limits_config;
    tm_plateau plateau;
    tm_plateau_config plateau_config;
    tm_policy policy;
    tm_callback callback;
    tm_callback_config callback_config;
    tm_engine engine;
    tm_engine_config engine_config;
    float value;
    memset(&stopping, 0, sizeof stopping);
    memset(&limit, 0, sizeof limit);
    memset(&average, 0, sizeof average);
    memset(&ema, 0, sizeof ema);
    memset(&limits, 0, sizeof limits);
    memset(&plateau, 0, sizeof plateau);
    memset(&policy, 0, sizeof policy);
    memset(&callback, 0, sizeof callback);
    memset(&engine, 0, sizeof engine);
    memset(&config, 0, sizeof config);
    memset(&limit_config, 0, sizeof limit_config);
    memset(&average_config, 0, sizeof average_config);
    memset(&ema_config, 0, sizeof ema_config);
    memset(&limits_config, 0, sizeof limits_config);
    memset(&plateau_config, 0, sizeof plateau_config);
    memset(&callback_config, 0, sizeof callback_config);
    config.patience = 1;
#define WRONG(field, wrong, right)                                                    \
    config.field = wrong;                                                             \
    CHECK(tm_early_stopping_init(&stopping, &config) == TM_ERROR_SETTING);            \
    config.field = right;                                                             \
    CHECK(tm_early_stopping_init(&stopping, &config) == TM_OK)
    WRONG(threshold, -1.0f, 0.0f);
    WRONG(threshold, NAN, 0.0f);
    WRONG(mode, 2, 0);
    WRONG(threshold_mode, 255, 1);
    WRONG(score, 1 + TM_METRICS, TM_METRICS);
    WRONG(score, 0x200, TM_SCORE_NEGATED);
    config.has_baseline = 1;
    WRONG(baseline, NAN, 1.0f);
    CHECK(tm_time_limit_init(&limit, &limit_config) == TM_ERROR_SETTING);
    CHECK(tm_running_average_init(&average, &average_config) == TM_ERROR_SETTING);
    CHECK(tm_weight_average_init(&ema, &ema_config) == TM_ERROR_SETTING);
    limits_config.has_target = 1;
    limits_config.target = INFINITY;
    CHECK(tm_score_limits_init(&limits, &limits_config) == TM_ERROR_SETTING);
    plateau_config.factor = 1.0f;
    CHECK(tm_plateau_init(&plateau, &plateau_config) == TM_ERROR_SETTING);
    CHECK(tm_callback_init(&callback, &callback_config) == TM_ERROR_NULL);
    CHECK(tm_step_decay(1.0f, 0, 0.5f, 1, &value) == TM_ERROR_SETTING);
    CHECK(tm_step_decay(NAN, 1, 0.5f, 1, &value) == TM_ERROR_SETTING);
    best_config.n_saved = 0;
    CHECK(tm_policy_init(&policy, &best_config) == TM_ERROR_SETTING);
    best_config.n_saved = TM_MAX_SAVED + 1;
    CHECK(tm_policy_init(&policy, &best_config) == TM_ERROR_SETTING);
    best_config.n_saved = TM_MAX_SAVED;
    CHECK(tm_policy_init(&policy, &best_config) == TM_OK);
    best_config.step_source = 3;
    CHECK(tm_policy_init(&policy, &best_config) == TM_ERROR_SETTING);
    best_config.step_source = 0;
    best_config.on_error = 9;
    CHECK(tm_policy_init(&policy, &best_config) == TM_ERROR_SETTING);
    best_config.on_error = 0;
    best_config.score_name = "\xff\xfe";
    CHECK(tm_policy_init(&policy, &best_config) == TM_ERROR_SETTING);
    reset();
    engine_config.max_epochs = 1;
    engine_config.epoch_length = 1;
    engine_config.model = model;
    CHECK(tm_engine_init(&engine, &engine_config) == TM_OK);
    CHECK(tm_engine_set_metric(&engine, TM_METRICS, 1.0f) == TM_ERROR_SETTING);
    CHECK(tm_engine_terminate(&engine, TM_REASON_USER - 1) == TM_ERROR_SETTING);
    CHECK(tm_engine_terminate(&engine, TM_REASON_USER + 256) == TM_ERROR_SETTING);
}

static void test_handlers(void) {
    static tm_early_stopping many[TM_MAX_HANDLERS + 1];
    static tm_engine engine;
    tm_engine_config config;
    tm_early_stopping_config stopping_config;
    size_t i;
    memset(&stopping_config, 0, sizeof stopping_config);
    stopping_config.patience = 1;
    stopping_config.events = TM_EPOCH_COMPLETED;
    config.max_epochs = 1;
    config.epoch_length = 1;
    config.model = model;
    CHECK(tm_engine_init(&engine, &config) == TM_OK);
    for (i = 0; i <= TM_MAX_HANDLERS; i++) {
        CHECK(tm_early_stopping_init(&many[i], &stopping_config) == TM_OK);
        CHECK(tm_engine_attach_early_stopping(&engine, &many[i]) == (i < TM_MAX_HANDLERS ? TM_OK : TM_ERROR_HANDLERS));
    }
    CHECK(tm_engine_begin_iteration(&engine) == TM_OK && tm_engine_end_iteration(&engine, 1.0f) == TM_STOP);
    for (i = 0; i < TM_MAX_HANDLERS; i++) {
        float best;
        CHECK(tm_early_stopping_best(&many[i], &best) == TM_OK && best == 1.0f);
    }
}

static void test_state(void) {
    tm_early_stopping stopping = {{0}};
    tm_early_stopping_config config;
    tm_running_average average = {{0}};
    tm_running_average_config average_config;
    uint8_t state[TM_MAX_STATE];
    size_t len = 0, i;
    memset(&config, 0, sizeof config);
    memset(&average_config, 0, sizeof average_config);
    config.patience = 9;
    average_config.alpha = 0.5f;
    CHECK(tm_early_stopping_init(&stopping, &config) == TM_OK);
    CHECK(tm_running_average_init(&average, &average_config) == TM_OK);
    CHECK(tm_early_stopping_update(&stopping, 1.0f) == TM_OK);
    CHECK(tm_early_stopping_update(&stopping, 1.0f) == TM_OK);
    CHECK(tm_early_stopping_save(&stopping, state, sizeof state, &len) == TM_OK);
    for (i = 0; i < len; i++) {
        uint8_t small[TM_MAX_STATE];
        size_t none = 77;
        CHECK(tm_early_stopping_save(&stopping, small, i, &none) == TM_ERROR_BUFFER && none == 77);
        CHECK(tm_early_stopping_load(&stopping, state, i) == TM_ERROR_STATE);
    }
    CHECK(tm_running_average_load(&average, state, len) == TM_ERROR_STATE);
    memset(state + 4, 0xff, len - 4);
    CHECK(tm_early_stopping_load(&stopping, state, len) == TM_ERROR_STATE);
    CHECK(tm_early_stopping_counter(&stopping) == 1);
}

static void test_models(void) {
    static tm_tensor twice[2];
    uint32_t len = 0;
    reset();
    CHECK(tm_measure(&model, NULL) == TM_ERROR_NULL && tm_measure(NULL, &len) == TM_ERROR_NULL);
#define REJECTED(change, status)                    \
    reset();                                        \
    change;                                         \
    CHECK(tm_measure(&model, &len) == (status))
    REJECTED(model.object_count = 0, TM_ERROR_MODEL);
    REJECTED(model.objects = NULL, TM_ERROR_NULL);
    REJECTED(object.name = NULL, TM_ERROR_MODEL);
    REJECTED(object.name = "", TM_ERROR_MODEL);
    REJECTED(object.name = "\xff", TM_ERROR_MODEL);
    REJECTED(object.tensors = NULL, TM_ERROR_NULL);
    REJECTED(tensor.name = NULL, TM_ERROR_MODEL);
    REJECTED(tensor.kind = 13, TM_ERROR_MODEL);
    REJECTED(tensor.rank = TM_MAX_RANK + 1, TM_ERROR_MODEL);
    REJECTED(tensor.data = NULL, TM_ERROR_NULL);
    REJECTED(tensor.data = (char *)weights + 1, TM_ERROR_MISALIGNED);
    REJECTED(weights[3] = INFINITY, TM_ERROR_NON_FINITE);
    REJECTED(tensor.kind = TM_BOOL; ((uint8_t *)weights)[1] = 2, TM_ERROR_MODEL);
    REJECTED((tensor.rank = 6, memset(tensor.shape, 0xff, sizeof tensor.shape)), TM_ERROR_MODEL);
    reset();
    twice[0] = tensor;
    twice[1] = tensor;
    object.tensors = twice;
    object.tensor_count = 2;
    CHECK(tm_measure(&model, &len) == TM_ERROR_MODEL);
    reset();
    CHECK(tm_measure(&model, &len) == TM_OK);
}

int main(void) {
    reset();
    use_uninitialized(0);
    use_uninitialized(0xa5);
    use_uninitialized(0xff);
    test_pointers();
    test_settings();
    test_handlers();
    test_state();
    test_models();
    puts("misuse: passed");
    return 0;
}
