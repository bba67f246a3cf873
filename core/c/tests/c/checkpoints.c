/* Checkpoints in a flash, in a memory and in streams, used as intended. */
#include "check.h"
#include "flash.h"
#include "model.h"
#include <math.h>

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
    test_checkpoint(0);
    test_checkpoint(1);
    test_checkpoint(256);
    test_streams();
    puts("checkpoints: passed");
    return 0;
}
