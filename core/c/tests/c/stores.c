/* A flash or a memory with wrong sizes, whose functions fail, or that loses data. */
#include "check.h"
#include "fixture.h"
#include <math.h>

static void test_flash(void) {
    static tm_checkpoint best, second;
    tm_loaded loaded;
    tm_decision decision;
    unsigned call, calls;
    reset();
#define REFUSED_FLASH(change, status)                                             \
    reset();                                                                      \
    change;                                                                       \
    CHECK(tm_checkpoint_open_flash(&best, &best_config, &flash) == (status));     \
    CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_ERROR_NOT_INITIALIZED)
    REFUSED_FLASH(flash.read = NULL, TM_ERROR_NULL);
    REFUSED_FLASH(flash.program = NULL, TM_ERROR_NULL);
    REFUSED_FLASH(flash.erase = NULL, TM_ERROR_NULL);
    REFUSED_FLASH(flash.write_size = 0, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.write_size = 3, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.write_size = 64, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.read_size = 0, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.erase_size = 0, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.erase_size = 6, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.size = 3 * BLOCK + 4, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.size = 0, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.start = 0xffffff00u, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.start = 4, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.slots = 1, TM_ERROR_SLOTS);
    REFUSED_FLASH(flash.slots = 2; flash.size = 2 * BLOCK, TM_ERROR_SLOTS);
    REFUSED_FLASH(flash.slots = TM_MAX_SLOTS + 1; flash.erase_size = 64; flash.size = 9 * 256, TM_ERROR_GEOMETRY);
    REFUSED_FLASH(flash.slots = 0, TM_ERROR_SLOTS);

    /* A flash that cannot be read contains nothing that could be loaded. */
    reset();
    c.fail_reads = 1;
    CHECK(tm_checkpoint_open_flash(&best, &best_config, &flash) == TM_OK);
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_NONE);

    /* Another division into slots. */
    reset();
    CHECK(tm_checkpoint_open_flash(&best, &best_config, &flash) == TM_OK);
    CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
    flash.slots = 4;
    flash.size = 4 * BLOCK;
    CHECK(tm_checkpoint_open_flash(&second, &best_config, &flash) == TM_ERROR_OTHER_LAYOUT);

    /* A checkpoint that is too long, or whose step is taken by a better one. */
    reset();
    CHECK(tm_checkpoint_open_flash(&best, &best_config, &flash) == TM_OK);
    CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
    CHECK(tm_checkpoint_save(&best, &model, 1, 0.5f, 1) == TM_ERROR_BETTER_EXISTS);
    tensor.kind = TM_U8;
    tensor.data = c.bytes;
    tensor.shape[0] = 2000;
    CHECK(tm_checkpoint_save(&best, &model, 2, 2.0f, 2) == TM_ERROR_TOO_LONG);
    /* The object now ranks the checkpoints of the model of the last call. */
    CHECK(tm_checkpoint_best(&best, &decision) == TM_NONE);
    tensor.kind = TM_F32;
    tensor.data = weights;
    tensor.shape[0] = 8;
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_OK && loaded.step == 1);
    CHECK(tm_checkpoint_best(&best, &decision) == TM_OK && decision.step == 1);

    /* Every call of the flash fails once, and all calls from it on. No checkpoint is lost. */
    reset();
    CHECK(tm_checkpoint_open_flash(&best, &best_config, &flash) == TM_OK);
    CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
    c.calls = 0;
    CHECK(tm_checkpoint_save(&best, &model, 2, 2.0f, 2) == TM_OK);
    calls = c.calls;
    CHECK(calls > 3);
    for (call = 1; call <= calls; call++) {
        int all;
        for (all = 0; all <= 1; all++) {
            tm_status status;
            reset();
            weights[0] = 1.0f;
            CHECK(tm_checkpoint_open_flash(&best, &best_config, &flash) == TM_OK);
            CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
            weights[0] = 2.0f;
            c.calls = 0;
            c.fail_at = call;
            c.fail_all = all;
            status = tm_checkpoint_save(&best, &model, 2, 2.0f, 2);
            CHECK(status == (all ? TM_ERROR_DEVICE : TM_OK));
            c.fail_at = 0;
            CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_OK && loaded.step == (all ? 1u : 2u));
            CHECK(tm_checkpoint_open_flash(&second, &best_config, &flash) == TM_OK);
            CHECK(tm_checkpoint_load_best(&second, &model, &loaded) == TM_OK && loaded.step >= (all ? 1u : 2u));
            CHECK(weights[0] == (float)loaded.step);
        }
    }

    /* A flash that loses data without an error. */
    reset();
    weights[0] = 1.0f;
    CHECK(tm_checkpoint_open_flash(&best, &best_config, &flash) == TM_OK);
    CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
    c.lose_bytes = 1;
    weights[0] = 2.0f;
    CHECK(tm_checkpoint_save(&best, &model, 2, 2.0f, 2) == TM_ERROR_VERIFY);
    c.lose_bytes = 0;
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_OK && loaded.step == 1 && weights[0] == 1.0f);
}

static void test_memory(void) {
    static tm_checkpoint best, second;
    tm_memory memory;
    tm_loaded loaded;
    unsigned call, calls;
    int large;
#define REFUSED_MEMORY(change, status)                                            \
    reset();                                                                      \
    chip_as_memory(&c, &memory);                                                  \
    change;                                                                       \
    CHECK(tm_checkpoint_open_memory(&best, &best_config, &memory) == (status));   \
    CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_ERROR_NOT_INITIALIZED)
    REFUSED_MEMORY(memory.read = NULL, TM_ERROR_NULL);
    REFUSED_MEMORY(memory.write = NULL, TM_ERROR_NULL);
    REFUSED_MEMORY(memory.page_size = 0, TM_ERROR_GEOMETRY);
    REFUSED_MEMORY(memory.page_size = 24, TM_ERROR_GEOMETRY);
    REFUSED_MEMORY(memory.page_size = 512, TM_ERROR_GEOMETRY);
    REFUSED_MEMORY(memory.start = 0xffffff00u, TM_ERROR_GEOMETRY);
    REFUSED_MEMORY(memory.start = 128, TM_ERROR_GEOMETRY);
    REFUSED_MEMORY(memory.size = 0, TM_ERROR_GEOMETRY);
    REFUSED_MEMORY(memory.size = 3 * 128, TM_ERROR_GEOMETRY);
    REFUSED_MEMORY(memory.size = 3 * 512; memory.page_size = 64, TM_ERROR_GEOMETRY); /* no room with large pages */
    REFUSED_MEMORY(memory.slots = 0, TM_ERROR_SLOTS);
    REFUSED_MEMORY(memory.slots = 2; memory.size = 2 * BLOCK, TM_ERROR_SLOTS);
    REFUSED_MEMORY(memory.slots = TM_MAX_SLOTS + 1; memory.size = 9 * 256, TM_ERROR_GEOMETRY);
    reset();
    CHECK(tm_checkpoint_open_memory(&best, &best_config, NULL) == TM_ERROR_NULL);
    CHECK(tm_checkpoint_open_memory(&best, NULL, &memory) == TM_ERROR_NULL);
    CHECK(tm_checkpoint_open_memory(NULL, &best_config, &memory) == TM_ERROR_NULL);
    CHECK(tm_checkpoint_erase_memory(NULL) == TM_ERROR_NULL);

    for (large = 0; large <= 1; large++) {
        const uint32_t room = BLOCK - (large ? 512 : 96);
        uint32_t len = 0;
        tm_status status;
        reset();
        chip_as_memory(&c, &memory);
        memory.page_size = large ? 128 : 16;
        /* A page size with the other layout is refused, and so is another division into slots. */
        CHECK(tm_checkpoint_open_memory(&best, &best_config, &memory) == TM_OK);
        CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
        memory.page_size = large ? 32 : 64;
        CHECK(tm_checkpoint_open_memory(&second, &best_config, &memory) == TM_ERROR_OTHER_LAYOUT);
        memory.page_size = large ? 128 : 16;
        memory.slots = 4;
        memory.size = 4 * BLOCK;
        CHECK(tm_checkpoint_open_memory(&second, &best_config, &memory) == TM_ERROR_OTHER_LAYOUT);
        memory.slots = 3;
        memory.size = 3 * BLOCK;

        /* A checkpoint of the measured length fits into a slot. A longer one is refused before anything is written. */
        tensor.kind = TM_U8;
        tensor.data = c.bytes + 3 * BLOCK;
        tensor.shape[0] = 200;
        CHECK(tm_checkpoint_open_memory(&best, &best_config, &memory) == TM_OK);
        do {
            tensor.shape[0]++;
            c.calls = 0;
            status = tm_checkpoint_save(&best, &model, 0xffffffffu, -1.0f, 0xffffffffu);
            CHECK(tm_measure(&model, &len) == TM_OK && (status == TM_OK || len > room));
        } while (status == TM_OK);
        CHECK(status == TM_ERROR_TOO_LONG && c.calls == 0 && len < room + 32);

        /* Every write fails once, and all writes from it on. No checkpoint is lost. */
        reset();
        CHECK(tm_checkpoint_open_memory(&best, &best_config, &memory) == TM_OK);
        CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
        c.calls = 0;
        CHECK(tm_checkpoint_save(&best, &model, 2, 2.0f, 2) == TM_OK);
        calls = c.calls;
        CHECK(calls > 3);
        for (call = 1; call <= 2 * calls; call++) {
            const int all = call > calls;
            reset();
            weights[0] = 1.0f;
            CHECK(tm_checkpoint_open_memory(&best, &best_config, &memory) == TM_OK);
            CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
            weights[0] = 2.0f;
            c.calls = 0;
            c.fail_at = all ? call - calls : call;
            c.fail_all = all;
            CHECK(tm_checkpoint_save(&best, &model, 2, 2.0f, 2) == (all ? TM_ERROR_DEVICE : TM_OK));
            c.fail_at = 0;
            CHECK(tm_checkpoint_open_memory(&second, &best_config, &memory) == TM_OK);
            CHECK(tm_checkpoint_load_best(&second, &model, &loaded) == TM_OK && loaded.step >= (all ? 1u : 2u));
            CHECK(weights[0] == (float)loaded.step);
        }

        /* A memory that loses data without an error, and one that cannot be read. */
        reset();
        weights[0] = 1.0f;
        CHECK(tm_checkpoint_open_memory(&best, &best_config, &memory) == TM_OK);
        CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
        c.lose_bytes = 1;
        weights[0] = 2.0f;
        CHECK(tm_checkpoint_save(&best, &model, 2, 2.0f, 2) == TM_ERROR_VERIFY);
        c.lose_bytes = 0;
        CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_OK && loaded.step == 1 && weights[0] == 1.0f);
        c.fail_reads = 1;
        CHECK(tm_checkpoint_open_memory(&best, &best_config, &memory) == TM_OK);
        CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_NONE);
        c.fail_reads = 0;

        /* A start over. */
        c.calls = 0;
        c.fail_at = 3;
        CHECK(tm_checkpoint_erase_memory(&memory) == TM_ERROR_DEVICE);
        c.fail_at = 0;
        CHECK(tm_checkpoint_erase_memory(&memory) == TM_OK && c.bytes[0] == 0 && c.bytes[3 * BLOCK - 1] == 0);
        CHECK(c.bytes[3 * BLOCK] == 0xa5);
        CHECK(tm_checkpoint_open_memory(&best, &best_config, &memory) == TM_OK);
        CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_NONE);
    }
}

/* Power fails at the end of the second save, so its checkpoint has no seal. The next save replaces it and fails. The first
 * checkpoint remains. */
static void test_failure_after_interrupted_save(int is_memory, uint32_t n_saved, int loses_bytes) {
    static tm_checkpoint best;
    static chip after_first;
    tm_memory memory;
    tm_loaded loaded;
    unsigned calls;
    reset();
    best_config.n_saved = n_saved;
    flash.slots = n_saved + 1;
    flash.size = (n_saved + 1) * BLOCK;
    chip_as_memory(&c, &memory);
    memory.slots = flash.slots;
    memory.size = flash.size;
#define REOPEN()                                                                                        \
    CHECK((is_memory ? tm_checkpoint_open_memory(&best, &best_config, &memory)                          \
                     : tm_checkpoint_open_flash(&best, &best_config, &flash)) == TM_OK)
    REOPEN();
    CHECK(tm_checkpoint_save(&best, &model, 1, 1.0f, 1) == TM_OK);
    after_first = c;
    c.calls = 0;
    CHECK(tm_checkpoint_save(&best, &model, 2, 2.0f, 2) == TM_OK);
    calls = c.calls;
    c = after_first;
    REOPEN();
    c.calls = 0;
    c.fail_at = calls;
    c.fail_all = 1;
    CHECK(tm_checkpoint_save(&best, &model, 2, 2.0f, 2) == TM_ERROR_DEVICE);
    c.fail_at = 0;
    REOPEN();
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_OK && loaded.step == 2);
    c.lose_bytes = loses_bytes;
    c.fail_at = loses_bytes ? 0 : c.calls + 3;
    CHECK(tm_checkpoint_save(&best, &model, 3, 3.0f, 3) == (loses_bytes ? TM_ERROR_VERIFY : TM_ERROR_DEVICE));
    CHECK(tm_checkpoint_save(&best, &model, 4, 4.0f, 4) < 0);
    c.lose_bytes = 0;
    c.fail_at = 0;
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_OK && loaded.step >= 1 && loaded.step <= 2);
    REOPEN();
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_OK && loaded.step >= 1 && loaded.step <= 2);
    CHECK(tm_checkpoint_save(&best, &model, 5, 5.0f, 5) == TM_OK);
    CHECK(tm_checkpoint_load_best(&best, &model, &loaded) == TM_OK && loaded.step == 5);
}

/* A run whose flash fails ends with the error of the save, or continues, as its settings say. */
static void test_failed_saves(void) {
    static tm_checkpoint latest;
    static tm_engine engine;
    tm_engine_config config;
    tm_outcome outcome;
    tm_resumed resumed;
    int on_error;
    for (on_error = TM_ON_ERROR_STOP; on_error <= TM_ON_ERROR_RETRY; on_error++) {
        tm_status status = TM_OK;
        unsigned steps = 0;
        reset();
        best_config.n_saved = 1;
        best_config.interval = 1;
        best_config.events = TM_ITERATION_COMPLETED;
        best_config.on_error = (uint8_t)on_error;
        best_config.retries = 2;
        config.max_epochs = 1;
        config.epoch_length = 5;
        config.model = model;
        CHECK(tm_checkpoint_open_flash(&latest, &best_config, &flash) == TM_OK);
        CHECK(tm_engine_init(&engine, &config) == TM_OK);
        CHECK(tm_engine_attach_checkpoint(&engine, &latest) == TM_OK);
        CHECK(tm_engine_resume(&engine, &resumed) == TM_NONE);
        while (tm_engine_begin_iteration(&engine) == TM_OK) {
            steps++;
            c.calls = 0;
            c.fail_at = steps == 3;
            c.fail_all = 1;
            status = tm_engine_end_iteration(&engine, 1.0f);
        }
        CHECK(status == TM_STOP && steps == (on_error == TM_ON_ERROR_STOP ? 3u : 5u));
        CHECK(tm_checkpoint_last_error(&latest) == (on_error == TM_ON_ERROR_STOP ? TM_ERROR_DEVICE : TM_OK));
        CHECK(tm_engine_outcome(&engine, &outcome) == TM_OK);
        CHECK(outcome.reason == (on_error == TM_ON_ERROR_STOP ? TM_REASON_SAVE_FAILED : TM_REASON_MAX_EPOCHS));
    }
    /* A model that cannot be saved is an error before the first event. */
    reset();
    best_config.events = TM_EPOCH_COMPLETED;
    object.name = "a name that is longer than the two hundred and fifty-five bytes that a name can have, because it goes on"
                  " and on and on and on and on and on and on and on and on and on and on and on and on and on and on and"
                  " on and on and on and on and on and on and on and on and on and on and on and on";
    CHECK(tm_checkpoint_open_flash(&latest, &best_config, &flash) == TM_OK);
    CHECK(tm_engine_init(&engine, &config) == TM_OK);
    CHECK(tm_engine_attach_checkpoint(&engine, &latest) == TM_OK);
    CHECK(tm_engine_begin_iteration(&engine) == TM_ERROR_MODEL && tm_engine_iteration(&engine) == 0);
}

int main(void) {
    int i;
    test_flash();
    test_memory();
    for (i = 0; i < 8; i++) test_failure_after_interrupted_save(i & 1, i & 2 ? 2 : 1, i & 4);
    test_failed_saves();
    puts("stores: passed");
    return 0;
}
