/* Measures what the program `count` in Rust measures: the instructions of an iteration, of a save and of a resumed run, and
 * the stack of the deepest calls. Prints one number per line as `board/c-name value`.
 *
 * The model and the handlers are those of src/bin/count. An iteration is measured as the difference of two runs, so that
 * the cost of the start and of the end is not counted. */
#include "board/board.h"

enum { ITERATIONS = 2000, BLOCK = 512, WEIGHTS = 256 };

static float weights[WEIGHTS];
static const tm_tensor tensors[] = {
    {.name = "weights", .data = weights, .shape = {WEIGHTS}, .rank = 1, .kind = TM_F32},
};
static const tm_object objects[] = {{.name = "model", .tensors = tensors, .tensor_count = 1}};
static const tm_model model = {objects, 1};

static tm_engine engine;
static tm_nan_guard guard;
static tm_early_stopping stopping;
static tm_timer timer;
static tm_checkpoint checkpoint;

static void print_name(const char *name) {
    print(BOARD_NAME "/c-");
    print(name);
    print(" ");
}

static void print_value(const char *name, uint32_t value) {
    print_name(name);
    print_number(value);
    print("\n");
}

static void must(tm_status status) {
    if (status == TM_OK) return;
    print(tm_strerror(status));
    print("\n");
    board_exit(1);
}

/* A flash in RAM, so that real flash operations do not count. */
static uint8_t chip[2 * 3 * BLOCK];

static int read_chip(void *context, uint32_t address, uint8_t *bytes, size_t len) {
    (void)context;
    __builtin_memcpy(bytes, chip + address, len);
    return 0;
}

static int program_chip(void *context, uint32_t address, const uint8_t *bytes, size_t len) {
    (void)context;
    __builtin_memcpy(chip + address, bytes, len);
    return 0;
}

static int erase_chip(void *context, uint32_t address, uint32_t len) {
    (void)context;
    __builtin_memset(chip + address, 0xff, len);
    return 0;
}

static uint64_t now(void *context) {
    (void)context;
    return 7;
}

/* Initializes all objects. Returns the stack of the function that opens the flash. */
static uint32_t attach(uint32_t epoch_length, uint32_t save_at) {
    static const tm_flash flash = {
        .read = read_chip, .program = program_chip, .erase = erase_chip, .size = sizeof chip, .slots = 2,
        .erase_size = BLOCK, .write_size = 4, .read_size = 1};
    const tm_engine_config run = {.max_epochs = 1, .epoch_length = epoch_length, .model = {objects, 1}};
    const tm_guard_config each_loss = {.events = TM_ITERATION_COMPLETED};
    const tm_early_stopping_config patience = {
        .patience = 3, .events = TM_EPOCH_COMPLETED, .score = TM_SCORE_OUTPUT};
    const tm_timer_config count_steps = {
        .clock = {.now = now}, .start = TM_STARTED, .pause = TM_COMPLETED, .step = TM_ITERATION_COMPLETED};
    const tm_checkpoint_config latest = {.n_saved = 1, .interval = 1, .events = save_at};
    must(tm_engine_init(&engine, &run));
    must(tm_nan_guard_init(&guard, &each_loss));
    must(tm_early_stopping_init(&stopping, &patience));
    must(tm_timer_init(&timer, &count_steps, 0));
    stack_paint();
    must(tm_checkpoint_open_flash(&checkpoint, &latest, &flash));
    uint32_t depth = stack_depth();
    must(tm_engine_attach_nan_guard(&engine, &guard));
    must(tm_engine_attach_early_stopping(&engine, &stopping));
    must(tm_engine_attach_timer(&engine, &timer));
    must(tm_engine_attach_checkpoint(&engine, &checkpoint));
    return depth;
}

/* Runs one epoch and returns its instructions. */
static uint32_t run(uint32_t iterations) {
    static volatile uint32_t number = 0x3f000000;
    tm_status status;
    attach(iterations, TM_EPOCH_COMPLETED);
    uint32_t before = counter();
    while ((status = tm_engine_begin_iteration(&engine)) == TM_OK) {
        union {
            uint32_t bits;
            float value;
        } loss = {number};
        weights[0] = loss.value;
        tm_engine_end_iteration(&engine, loss.value);
    }
    uint32_t instructions = counter_elapsed(before);
    must(status == TM_STOP ? TM_OK : status);
    return instructions;
}

static void measure_iteration(void) {
    uint32_t hundredths = (run(2 * ITERATIONS) - run(ITERATIONS)) / (ITERATIONS / 100);
    print_name("iteration-four-handlers");
    print_number(hundredths / 100);
    print(hundredths % 100 < 10 ? ".0" : ".");
    print_number(hundredths % 100);
    print("\n");
}

/* One iteration that saves one checkpoint. With `is_resumed`, the run first resumes from the checkpoint of the first call.
 * As in Rust, the stack is that of the second call, and the instructions of the save are those of the first one. */
static void measure_save(int is_resumed) {
    tm_resumed resumed;
    tm_loaded loaded;
    uint32_t opened = attach(0, TM_ITERATION_COMPLETED);

    stack_paint();
    uint32_t before = counter();
    tm_status status = tm_engine_resume(&engine, &resumed);
    uint32_t resume_instructions = counter_elapsed(before), resume_stack = stack_depth();
    must(status == TM_NONE && !is_resumed ? TM_OK : status);

    stack_paint();
    must(tm_engine_begin_iteration(&engine));
    uint32_t iteration_stack = stack_depth();
    stack_paint();
    before = counter();
    must(tm_engine_end_iteration(&engine, 0.5f));
    uint32_t save_instructions = counter_elapsed(before), save_stack = stack_depth();
    stack_paint();
    must(tm_checkpoint_load_best(&checkpoint, &model, &loaded));
    uint32_t load_stack = stack_depth();

    if (!is_resumed) {
        print_value("save-1KiB-instructions", save_instructions);
        return;
    }
    print_value("resume-1KiB-instructions", resume_instructions);
    print_value("stack-open", opened);
    print_value("stack-resume", resume_stack);
    print_value("stack-iteration", iteration_stack);
    print_value("stack-save", save_stack);
    print_value("stack-load", load_stack);
}

int program(void) {
    counter_start();
    measure_iteration();
    __builtin_memset(chip, 0xff, sizeof chip); /* The run above has saved. */
    measure_save(0);
    measure_save(1);
    return 0;
}
