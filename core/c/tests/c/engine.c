/* The engine and a weight average in a run, used as intended. */
#include "check.h"
#include "model.h"
#include <math.h>

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

int main(void) {
    test_attached_average();
    test_engine();
    puts("engine: passed");
    return 0;
}
