/* training-monitor for C and C++: early stopping, checkpoints that survive power failures, guards against NaN, timers,
 * schedules and averages, without a heap.
 *
 * Generated from the Rust source. To change a comment or a declaration, change core/c/src.
 *
 * Rules of all functions:
 * - Each object is memory of the program, static or on the stack. Its init or open function must be called first. An object
 *   that is zeroed or contains other written bytes is refused with TM_ERROR_NOT_INITIALIZED. Memory that was never written
 *   must not be passed.
 * - An object needs no cleanup. Calling its init function again starts over.
 * - A pointer is null, or points to memory of its type. Null and misaligned pointers are refused.
 * - Settings are copied. Texts, models and attached objects must exist as long as the object that uses them.
 * - An object must not be moved in memory while it is attached to an engine.
 * - A function that returns an error has changed nothing, unless it says otherwise.
 * - In every struct of settings, 0 is the default, so `= {0}` is a valid start for each field that is not mentioned.
 */

#ifndef TRAINING_MONITOR_H
#define TRAINING_MONITOR_H

#include <stddef.h>
#include <stdint.h>
#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ < 199901L
#error "training_monitor.h needs C99"
#endif
#if UINTPTR_MAX == 0xffffffffu
#define TM_POINTER_32
#elif UINTPTR_MAX == 0xffffffffffffffffu
#define TM_POINTER_64
#else
#error "training_monitor.h needs pointers of 32 or 64 bits"
#endif

// The version of the header: major × 10000 + minor × 100 + patch.
#define TM_VERSION 100

#if defined(TM_POINTER_32)
// The size of tm_running_average, in 64-bit words.
#define TM_RUNNING_AVERAGE_WORDS 5
#endif

#if defined(TM_POINTER_64)
// The size of tm_running_average, in 64-bit words.
#define TM_RUNNING_AVERAGE_WORDS 6
#endif

#if defined(TM_POINTER_32)
// The size of tm_weight_average, in 64-bit words.
#define TM_WEIGHT_AVERAGE_WORDS 6
#endif

#if defined(TM_POINTER_64)
// The size of tm_weight_average, in 64-bit words.
#define TM_WEIGHT_AVERAGE_WORDS 7
#endif

// The run continues.
#define TM_ACTION_CONTINUE 0

// The epoch is terminated.
#define TM_ACTION_TERMINATE_EPOCH 1

// The run is interrupted.
#define TM_ACTION_INTERRUPT 2

#if defined(TM_POINTER_32)
// The size of tm_callback, in 64-bit words.
#define TM_CALLBACK_WORDS 2
#endif

#if defined(TM_POINTER_64)
// The size of tm_callback, in 64-bit words.
#define TM_CALLBACK_WORDS 3
#endif

// The largest number of checkpoints that one tm_checkpoint or tm_policy keeps.
#define TM_MAX_SAVED 7

// The step is the number of the call, as in Ignite.
#define TM_STEP_CALLS 0

// The step is the engine's iteration.
#define TM_STEP_ITERATION 1

// The step is the engine's epoch.
#define TM_STEP_EPOCH 2

// After a failed save, the run ends.
#define TM_ON_ERROR_STOP 0

// After a failed save, the run continues without this checkpoint.
#define TM_ON_ERROR_CONTINUE 1

// A failed save is repeated up to `retries` times. Then the run continues without this checkpoint.
#define TM_ON_ERROR_RETRY 2

#if defined(TM_POINTER_32)
// The size of tm_checkpoint, in 64-bit words.
#define TM_CHECKPOINT_WORDS 90
#endif

#if defined(TM_POINTER_64)
// The size of tm_checkpoint, in 64-bit words.
#define TM_CHECKPOINT_WORDS 106
#endif

// A higher score is better.
#define TM_MODE_MAX 0

// A lower score is better.
#define TM_MODE_MIN 1

// The threshold is a difference of scores.
#define TM_THRESHOLD_ABS 0

// The threshold is a fraction of the best score.
#define TM_THRESHOLD_REL 1

// The size of tm_early_stopping, in 64-bit words.
#define TM_EARLY_STOPPING_WORDS 8

// The room for the states of all handlers in a checkpoint, in bytes.
#define TM_RECORD_CAPACITY 192

#if defined(TM_POINTER_32)
// The size of tm_engine, in 64-bit words.
#define TM_ENGINE_WORDS 32
#endif

#if defined(TM_POINTER_64)
// The size of tm_engine, in 64-bit words.
#define TM_ENGINE_WORDS 49
#endif

// The size of tm_nan_guard, in 64-bit words.
#define TM_NAN_GUARD_WORDS 4

#if defined(TM_POINTER_32)
// The size of tm_weight_guard, in 64-bit words.
#define TM_WEIGHT_GUARD_WORDS 5
#endif

#if defined(TM_POINTER_64)
// The size of tm_weight_guard, in 64-bit words.
#define TM_WEIGHT_GUARD_WORDS 6
#endif

// The largest number of slots in a flash region.
#define TM_MAX_SLOTS 8

// The largest number of handlers of an engine.
#define TM_MAX_HANDLERS 10

#if defined(TM_POINTER_32)
// The size of tm_score_limits, in 64-bit words.
#define TM_SCORE_LIMITS_WORDS 5
#endif

#if defined(TM_POINTER_64)
// The size of tm_score_limits, in 64-bit words.
#define TM_SCORE_LIMITS_WORDS 6
#endif

// The maximum number of dimensions of a tensor.
#define TM_MAX_RANK 6

// IEEE 754 single precision: float.
#define TM_F32 0

// IEEE 754 double precision: double.
#define TM_F64 1

// IEEE 754 half precision, in uint16_t.
#define TM_F16 2

// The upper 16 bits of a float, in uint16_t.
#define TM_BF16 3

// int8_t.
#define TM_I8 4

// uint8_t.
#define TM_U8 5

// int16_t.
#define TM_I16 6

// uint16_t.
#define TM_U16 7

// int32_t.
#define TM_I32 8

// uint32_t.
#define TM_U32 9

// int64_t.
#define TM_I64 10

// uint64_t.
#define TM_U64 11

// One byte with the value 0 or 1.
#define TM_BOOL 12

// The run has not ended.
#define TM_REASON_NONE 0

// The run completed all epochs.
#define TM_REASON_MAX_EPOCHS 1

// tm_early_stopping ran out of patience.
#define TM_REASON_EARLY_STOPPING 2

// A guard found a NaN or an infinity.
#define TM_REASON_NON_FINITE 3

// A checkpoint could not be saved.
#define TM_REASON_SAVE_FAILED 4

// The time of tm_time_limit is used up.
#define TM_REASON_TIME_LIMIT 5

// A score reached the target of tm_score_limits.
#define TM_REASON_TARGET_REACHED 6

// A score was worse than the limit of tm_score_limits.
#define TM_REASON_DIVERGED 7

// The program interrupted the run. It continues at the next call of tm_engine_begin_iteration.
#define TM_REASON_INTERRUPTED 8

// Another reason of a program in Rust.
#define TM_REASON_OTHER 9

// A reason of the program: TM_REASON_USER + n, with n from 0 to 255, was passed to tm_engine_terminate.
#define TM_REASON_USER 256

#if defined(TM_POINTER_32)
// The size of tm_policy, in 64-bit words.
#define TM_POLICY_WORDS 17
#endif

#if defined(TM_POINTER_64)
// The size of tm_policy, in 64-bit words.
#define TM_POLICY_WORDS 21
#endif

// The number of metrics of an engine.
#define TM_METRICS 4

// A run starts.
#define TM_STARTED (1 << 0)

// An epoch starts. The epoch counter already includes it.
#define TM_EPOCH_STARTED (1 << 1)

// An iteration starts. The iteration counter already includes it.
#define TM_ITERATION_STARTED (1 << 4)

// A step is complete.
#define TM_ITERATION_COMPLETED (1 << 5)

// An epoch is complete.
#define TM_EPOCH_COMPLETED (1 << 6)

// The run is over.
#define TM_COMPLETED (1 << 7)

// The run is being terminated.
#define TM_TERMINATE (1 << 8)

// The epoch is being terminated.
#define TM_TERMINATE_SINGLE_EPOCH (1 << 9)

// At least one checkpoint was saved after the previous event.
#define TM_SAVED_CHECKPOINT (1 << 11)

// The run is being interrupted. A checkpoint that is saved now contains the exact position of the run.
#define TM_INTERRUPT (1 << 12)

// The score is the output of the step.
#define TM_SCORE_OUTPUT 0

// The score is the metric 0. TM_SCORE_METRIC_0 + n is the metric n.
#define TM_SCORE_METRIC_0 1

// Is added to a score to negate it, for example to rank a loss.
#define TM_SCORE_NEGATED 256

#if defined(TM_POINTER_32)
// The size of tm_plateau, in 64-bit words.
#define TM_PLATEAU_WORDS 10
#endif

#if defined(TM_POINTER_64)
// The size of tm_plateau, in 64-bit words.
#define TM_PLATEAU_WORDS 11
#endif

// The maximum length of a saved state, in bytes.
#define TM_MAX_STATE 32

#if defined(TM_POINTER_32)
// The size of tm_timer, in 64-bit words.
#define TM_TIMER_WORDS 8
#endif

#if defined(TM_POINTER_64)
// The size of tm_timer, in 64-bit words.
#define TM_TIMER_WORDS 9
#endif

#if defined(TM_POINTER_32)
// The size of tm_time_limit, in 64-bit words.
#define TM_TIME_LIMIT_WORDS 9
#endif

#if defined(TM_POINTER_64)
// The size of tm_time_limit, in 64-bit words.
#define TM_TIME_LIMIT_WORDS 10
#endif

// The result of a function. 0 and above: success. Below 0: an error; unless the function says otherwise, nothing has
// changed.
enum tm_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Success.
    TM_OK = 0,
    // Success: the run is over, or should stop.
    TM_STOP = 1,
    // Success: there is no such value, checkpoint or decision.
    TM_NONE = 2,
    // A pointer is null.
    TM_ERROR_NULL = -1,
    // A pointer is not aligned for its type.
    TM_ERROR_MISALIGNED = -2,
    // The object is not initialized: its init function was not called, or has failed.
    TM_ERROR_NOT_INITIALIZED = -3,
    // A callback called a function for an object that is in use.
    TM_ERROR_BUSY = -4,
    // A setting or an argument is not in its range.
    TM_ERROR_SETTING = -5,
    // A buffer is too small.
    TM_ERROR_BUFFER = -6,
    // The engine has TM_MAX_HANDLERS handlers already, or this handler is attached already.
    TM_ERROR_HANDLERS = -7,
    // The events of the run have begun, so no handler can be attached any more.
    TM_ERROR_STARTED = -8,
    // tm_engine_begin_iteration was called twice without tm_engine_end_iteration.
    TM_ERROR_NOT_ENDED = -9,
    // A callback of the flash or the memory, or of a writer or reader, has returned an error.
    TM_ERROR_DEVICE = -10,
    // The flash or the memory does not contain what was written to it.
    TM_ERROR_VERIFY = -11,
    // No slot is free, or the flash has too few slots: it needs one more than the number of kept checkpoints.
    TM_ERROR_SLOTS = -12,
    // The checkpoint is longer than a slot.
    TM_ERROR_TOO_LONG = -13,
    // The sizes of the flash are not supported, or its region cannot be divided into slots.
    TM_ERROR_GEOMETRY = -14,
    // The region contains checkpoints of another division into slots. tm_checkpoint_erase_flash or
    // tm_checkpoint_erase_memory erases them.
    TM_ERROR_OTHER_LAYOUT = -15,
    // The model is not valid: a name is not valid UTF-8, too long or used twice, a shape does not give the number of
    // elements, a type is unknown, or there is no object or too many tensors.
    TM_ERROR_MODEL = -16,
    // A tensor contains a NaN or an infinity.
    TM_ERROR_NON_FINITE = -17,
    // The states of the handlers do not fit into TM_RECORD_CAPACITY bytes.
    TM_ERROR_RECORD = -18,
    // A better checkpoint with the same step is stored.
    TM_ERROR_BETTER_EXISTS = -19,
    // The checkpoint is damaged, truncated, or is no checkpoint.
    TM_ERROR_DAMAGED = -20,
    // The checkpoint has another format version than this library.
    TM_ERROR_VERSION = -21,
    // The checkpoint has other tensors than the model.
    TM_ERROR_OTHER_MODEL = -22,
    // The checkpoint was saved with other handlers. tm_checkpoint_load_best keeps its weights.
    TM_ERROR_OTHER_HANDLERS = -23,
    // There are checkpoints, but none can be loaded. To start over, begin the run.
    TM_ERROR_NONE_LOADABLE = -24,
    // The checkpoint became unreadable while it was loaded. Some tensors may have new values.
    TM_ERROR_UNREADABLE = -25,
    // The bytes are not the state of this kind of object.
    TM_ERROR_STATE = -26,
    // Any other failure.
    TM_ERROR_OTHER = -27,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum tm_status tm_status;
#else
typedef int32_t tm_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Fires the events of a training run and calls the attached objects. The program must not access the fields, and must not
// move the engine or an attached object in memory.
typedef struct tm_engine {
    uint64_t words[TM_ENGINE_WORDS];
} tm_engine;

// Stops a run whose score no longer improves. The program must not access the fields.
typedef struct tm_early_stopping {
    uint64_t words[TM_EARLY_STOPPING_WORDS];
} tm_early_stopping;

// Measures the time of a run or of its steps. The program must not access the fields.
typedef struct tm_timer {
    uint64_t words[TM_TIMER_WORDS];
} tm_timer;

// Ends a run when its training time is used up, also if it is interrupted in between. The program must not access the
// fields.
typedef struct tm_time_limit {
    uint64_t words[TM_TIME_LIMIT_WORDS];
} tm_time_limit;

// Stops a run whose output is NaN or infinite. The program must not access the fields.
typedef struct tm_nan_guard {
    uint64_t words[TM_NAN_GUARD_WORDS];
} tm_nan_guard;

// Stops a run whose weights contain a NaN or an infinity. It checks the float tensors of the objects with `is_guarded`, and
// works only with an engine. The program must not access the fields.
typedef struct tm_weight_guard {
    uint64_t words[TM_WEIGHT_GUARD_WORDS];
} tm_weight_guard;

// Ends a run by its score. It has no state. The program must not access the fields.
typedef struct tm_score_limits {
    uint64_t words[TM_SCORE_LIMITS_WORDS];
} tm_score_limits;

// The exponential average of a number, for example of the loss. The program must not access the fields.
typedef struct tm_running_average {
    uint64_t words[TM_RUNNING_AVERAGE_WORDS];
} tm_running_average;

// The exponential average of all weights of a model (Ignite's EMAHandler). The program provides the memory of the average.
// The program must not access the fields.
//
// With an engine, the averages are the objects of the model with `average_of`. They start as a copy of the weights when a run
// starts. A checkpoint contains them, so a resumed run continues with the same averages.
typedef struct tm_weight_average {
    uint64_t words[TM_WEIGHT_AVERAGE_WORDS];
} tm_weight_average;

// Reduces a value, such as the learning rate, when a metric no longer improves (torch: ReduceLROnPlateau). The program must
// not access the fields.
typedef struct tm_plateau {
    uint64_t words[TM_PLATEAU_WORDS];
} tm_plateau;

// Keeps the best or the latest checkpoints in a region of the flash or of byte-addressable memory. The program must not
// access the fields.
typedef struct tm_checkpoint {
    uint64_t words[TM_CHECKPOINT_WORDS];
} tm_checkpoint;

// Calls a function of the program for the events of a run. Use it to observe a run: a program that only needs the score or
// the end of an epoch needs no callback. The program must not access the fields.
typedef struct tm_callback {
    uint64_t words[TM_CALLBACK_WORDS];
} tm_callback;

// The settings of tm_running_average.
typedef struct tm_running_average_config {
    // The weight of the old average; greater than 0 and at most 1. Ignite's default is 0.98.
    float alpha;
    // With an engine: whether the average begins anew with each epoch: 0 or 1.
    uint8_t per_epoch;
    // With an engine: the events at which the average is updated.
    uint32_t events;
    // With an engine: only every n-th of these events counts; 0 and 1 mean all.
    uint32_t every;
    // With an engine: the number to average, for example TM_SCORE_OUTPUT.
    uint32_t score;
} tm_running_average_config;

// The settings of tm_weight_average.
typedef struct tm_weight_average_config {
    // The weight of the new weights; between 0 and 1, both excluded. Ignite's default is 0.0002.
    float momentum;
    // The momentum of the first update, if `warmup_updates` is not 0.
    float first_momentum;
    // The number of updates in which the momentum changes from the first one to `momentum`; 0: no warm-up.
    uint32_t warmup_updates;
    // With an engine: the events at which the averages are updated.
    uint32_t events;
    // With an engine: only every n-th of these events counts; 0 and 1 mean all.
    uint32_t every;
} tm_weight_average_config;

// An event of a run.
typedef struct tm_event {
    // For example TM_EPOCH_COMPLETED.
    uint32_t event;
    // The number of the epoch, starting at 1.
    uint32_t epoch;
    // The number of the iteration, starting at 1.
    uint32_t iteration;
    // The output of the last step, or NaN if there is none.
    float output;
} tm_event;

// The settings of tm_callback.
typedef struct tm_callback_config {
    // The function. It returns TM_ACTION_CONTINUE, TM_ACTION_TERMINATE_EPOCH, TM_ACTION_INTERRUPT, or TM_REASON_USER + n to
    // terminate the run with this reason. Functions for the engine return TM_ERROR_BUSY inside it.
    uint32_t (*function)(void *context, const struct tm_event *event);
    // Is passed to the function.
    void *context;
    // The events for which the function is called.
    uint32_t events;
} tm_callback_config;

// The settings of tm_checkpoint and tm_policy. Only `n_saved` has no default: 0 in every other field is a useful value. The
// texts must exist as long as the object.
typedef struct tm_checkpoint_config {
    // The number of checkpoints to keep, 1 to TM_MAX_SAVED. The flash needs one slot more.
    uint32_t n_saved;
    // Saves at every n-th call and keeps the latest checkpoints. 0: keeps the checkpoints with the highest scores.
    uint32_t interval;
    // The name of the score in the checkpoints, or null.
    const char *score_name;
    // The name of the series, or null. Two objects that save to the same flash need different names.
    const char *series_name;
    // A checkpoint is saved only if its score is greater than this one, if `has_initial_threshold` is 1.
    float initial_threshold;
    // Whether `initial_threshold` is used: 0 or 1.
    uint8_t has_initial_threshold;
    // Whether a checkpoint with the score of the worst one replaces it: 0 or 1.
    uint8_t greater_or_equal;
    // TM_STEP_CALLS, TM_STEP_ITERATION or TM_STEP_EPOCH.
    uint8_t step_source;
    // TM_ON_ERROR_STOP, TM_ON_ERROR_CONTINUE or TM_ON_ERROR_RETRY.
    uint8_t on_error;
    // How often a failed save is repeated.
    uint8_t retries;
    // Whether a model with NaN or infinite weights is saved: 0 or 1.
    uint8_t allow_non_finite;
    // With an engine: the minimum number of iterations between two saves, to reduce the wear of the flash.
    uint32_t min_interval;
    // With an engine: the events at which a checkpoint can be saved.
    uint32_t events;
    // With an engine: only every n-th of these events counts; 0 and 1 mean all.
    uint32_t every;
    // With an engine: the score; a higher one is better. For a loss, add TM_SCORE_NEGATED.
    uint32_t score;
} tm_checkpoint_config;

// A region of NOR flash, and the functions that access it. The library divides the region into slots of equal size, and
// writes each granule once between two erases.
//
// The functions return 0 for success. They receive addresses of the flash, from `start` to `start` + `size`, aligned to the
// unit of the operation. They must not call this library.
typedef struct tm_flash {
    // Is passed to the functions.
    void *context;
    // Reads `len` bytes. `bytes` is aligned to 4.
    int (*read)(void *context, uint32_t address, uint8_t *bytes, uintptr_t len);
    // Programs `len` bytes. `bytes` is aligned to 4 if the write unit is a multiple of 4.
    int (*program)(void *context, uint32_t address, const uint8_t *bytes, uintptr_t len);
    // Erases `len` bytes: one erase block, or the whole region for tm_checkpoint_erase_flash.
    int (*erase)(void *context, uint32_t address, uint32_t len);
    // The address of the region, a multiple of the erase block.
    uint32_t start;
    // The size of the region in bytes: `slots` × a multiple of the erase block.
    uint32_t size;
    // The number of slots, 2 to TM_MAX_SLOTS: one more than the number of checkpoints that are kept.
    uint32_t slots;
    // The size of the erase block, in bytes.
    uint32_t erase_size;
    // The size of the write granule: 1, 2, 4, 8, 16 or 32 bytes.
    uint32_t write_size;
    // The size of the read unit: 1, 2, 4, 8, 16 or 32 bytes.
    uint32_t read_size;
} tm_flash;

// One tensor: an array of numbers with a name, a type and a shape.
typedef struct tm_tensor {
    // The name, unique within its object, in UTF-8.
    const char *name;
    // The elements, in row-major order.
    void *data;
    // The dimensions, outermost first. Their product is the number of elements.
    uint32_t shape[TM_MAX_RANK];
    // The number of dimensions, 0 to TM_MAX_RANK. A single number has 0 dimensions.
    uint8_t rank;
    // The type of the elements, for example TM_F32.
    uint8_t kind;
} tm_tensor;

// One named object of a checkpoint: either a list of tensors, such as a network or an optimizer, or one number, such as a
// seed.
typedef struct tm_object {
    // The name, unique within the model, in UTF-8.
    const char *name;
    // The tensors, or null for an object that is a number.
    const struct tm_tensor *tensors;
    // The number of tensors.
    uint32_t tensor_count;
    // Whether a tm_weight_guard checks the float tensors of this object: 0 or 1.
    uint8_t is_guarded;
    // The number, or null for an object with tensors. It is saved as a value (Ignite: save_as_state_dict=False).
    uint64_t *number;
    // The object whose average this one is, or null. Both have the same float tensors, in other memory. An attached
    // tm_weight_average updates this object.
    const struct tm_object *average_of;
} tm_object;

// Everything that a checkpoint contains, except the states of the engine and of the handlers.
typedef struct tm_model {
    // The objects. The array, its names and its tensors must exist as long as the model is used.
    const struct tm_object *objects;
    // The number of objects.
    uint32_t object_count;
} tm_model;

// A checkpoint that was loaded.
typedef struct tm_loaded {
    // Its step.
    uint32_t step;
    // The iteration in which it was saved.
    uint32_t iteration;
    // Its score, or NaN if it has none.
    float score;
} tm_loaded;

// A checkpoint: its step, which identifies it, and its score.
typedef struct tm_decision {
    // The step.
    uint32_t step;
    // The score, or NaN if there is none.
    float score;
} tm_decision;

// The settings of tm_early_stopping. Only `patience` has no default: 0 in every other field is a useful value.
typedef struct tm_early_stopping_config {
    // The run stops after this number of scores in a row without an improvement; at least 1.
    uint32_t patience;
    // A score must exceed the best score by this amount to be an improvement; 0 or more.
    float threshold;
    // TM_THRESHOLD_ABS or TM_THRESHOLD_REL.
    uint8_t threshold_mode;
    // TM_MODE_MAX or TM_MODE_MIN.
    uint8_t mode;
    // Whether several small gains can be an improvement together: 0 or 1.
    uint8_t cumulative;
    // Whether `baseline` is used: 0 or 1.
    uint8_t has_baseline;
    // An improvement sets the counter to 0 only if it also beats this score.
    float baseline;
    // With an engine: the run does not stop before the end of this epoch.
    uint32_t warmup_epochs;
    // With an engine: the events at which the score is checked, for example TM_EPOCH_COMPLETED.
    uint32_t events;
    // With an engine: only every n-th of these events counts; 0 and 1 mean all.
    uint32_t every;
    // With an engine: the score, for example TM_SCORE_OUTPUT, or TM_SCORE_METRIC_0 + TM_SCORE_NEGATED.
    uint32_t score;
} tm_early_stopping_config;

// The settings of tm_engine.
typedef struct tm_engine_config {
    // The maximum number of epochs.
    uint32_t max_epochs;
    // The number of iterations per epoch. 0: unknown; the program calls tm_engine_end_data. Each epoch starts with the
    // first batch of the data.
    uint32_t epoch_length;
    // What a checkpoint contains. Its arrays must exist as long as the engine.
    struct tm_model model;
} tm_engine_config;

// A run that was resumed.
typedef struct tm_resumed {
    // The epoch of the checkpoint.
    uint32_t epoch;
    // The iteration of the checkpoint. The run continues after it.
    uint32_t iteration;
    // The number of newer checkpoints that could not be loaded.
    uint32_t skipped;
    // Whether a handler has other settings than in the checkpoint: 0 or 1. The settings of the program apply.
    uint8_t changed_settings;
} tm_resumed;

// Where and why a run ended.
typedef struct tm_outcome {
    // For example TM_REASON_MAX_EPOCHS.
    uint32_t reason;
    // The number of the last epoch, starting at 1.
    uint32_t epoch;
    // The number of the last iteration, starting at 1 and continuing over all epochs.
    uint32_t iteration;
} tm_outcome;

// The settings of tm_nan_guard and tm_weight_guard. 0 in every field is useful without an engine.
typedef struct tm_guard_config {
    // tm_nan_guard checks every n-th call. tm_weight_guard checks one n-th of each tensor per call, so that n calls check
    // all. 0 and 1 mean everything at each call.
    uint32_t period;
    // With an engine: the events at which the guard checks.
    uint32_t events;
    // With an engine: only every n-th of these events counts; 0 and 1 mean all.
    uint32_t every;
} tm_guard_config;

// The position of a NaN or an infinity.
typedef struct tm_position {
    // The number of the tensor among all guarded float tensors of the model, starting at 0.
    uint32_t tensor;
    // The index of the element in the tensor.
    uint32_t index;
} tm_position;

// The settings of tm_score_limits. 0 in every field is useful: a score that is not finite ends the run.
typedef struct tm_score_limits_config {
    // TM_MODE_MAX or TM_MODE_MIN.
    uint8_t mode;
    // Whether a score that is NaN or infinite is allowed: 0 or 1.
    uint8_t allow_non_finite;
    // Whether `target` is used: 0 or 1.
    uint8_t has_target;
    // Whether `divergence_limit` is used: 0 or 1.
    uint8_t has_divergence_limit;
    // A better score ends the run.
    float target;
    // A worse score ends the run.
    float divergence_limit;
    // With an engine: the events at which the score is checked.
    uint32_t events;
    // With an engine: only every n-th of these events counts; 0 and 1 mean all.
    uint32_t every;
    // With an engine: the score, for example TM_SCORE_OUTPUT.
    uint32_t score;
} tm_score_limits_config;

// A region of byte-addressable memory (FRAM, MRAM or EEPROM), and the functions that access it. The library divides the
// region into slots of equal size. It must exist as long as the objects that use it.
//
// The functions return 0 for success. They receive addresses from `start` to `start` + `size`. They must not call this
// library. If `page_size` is too small, a power failure can destroy a stored checkpoint.
typedef struct tm_memory {
    // Is passed to the functions.
    void *context;
    // Reads `len` bytes.
    int (*read)(void *context, uint32_t address, uint8_t *bytes, uintptr_t len);
    // Writes `len` bytes, which can begin and end inside a page and can be longer than one. It returns when the bytes are
    // durable. A save writes each page of up to 64 bytes once, and a larger page up to four times.
    int (*write)(void *context, uint32_t address, const uint8_t *bytes, uintptr_t len);
    // The address of the region, a multiple of 256.
    uint32_t start;
    // The size of the region in bytes: `slots` × a multiple of 256. With pages of more than 32 bytes, a slot has room for a
    // checkpoint of its size less 512, otherwise less 96.
    uint32_t size;
    // The number of slots, 2 to TM_MAX_SLOTS: one more than the number of checkpoints that are kept.
    uint32_t slots;
    // The number of bytes that the memory writes as one unit: 1 for an FRAM, the page of an EEPROM, the word of a memory
    // with error correction; a power of two, 1 to 256. A power failure can destroy the whole page that is being written.
    uint32_t page_size;
} tm_memory;

// Decides when to save and what to evict, without a store. The program must not access the fields.
typedef struct tm_policy {
    uint64_t words[TM_POLICY_WORDS];
} tm_policy;

// The settings of tm_plateau. torch's defaults are: mode TM_MODE_MIN, factor 0.1, patience 10, threshold 1e-4 with
// TM_THRESHOLD_REL, cooldown 0, minimum 0, eps 1e-8.
typedef struct tm_plateau_config {
    // The initial value.
    float value;
    // A reduction multiplies the value by this factor; at least 0 and less than 1.
    float factor;
    // The smallest value.
    float minimum;
    // A metric must be better than the best one by this amount; 0 or more.
    float threshold;
    // A smaller reduction is not performed; 0 or more.
    float eps;
    // The number of metrics in a row without an improvement that change nothing.
    uint32_t patience;
    // The number of metrics after a reduction that are not counted.
    uint32_t cooldown;
    // TM_MODE_MAX or TM_MODE_MIN.
    uint8_t mode;
    // TM_THRESHOLD_ABS or TM_THRESHOLD_REL.
    uint8_t threshold_mode;
    // With an engine: the events at which the metric is checked.
    uint32_t events;
    // With an engine: only every n-th of these events counts; 0 and 1 mean all.
    uint32_t every;
    // With an engine: the metric, for example TM_SCORE_OUTPUT.
    uint32_t score;
} tm_plateau_config;

// A destination of a checkpoint.
typedef struct tm_writer {
    // Is passed to the function.
    void *context;
    // Writes all `len` bytes. Returns 0 for success.
    int (*write)(void *context, const uint8_t *bytes, uintptr_t len);
} tm_writer;

// A source of a checkpoint. It is read twice: to verify it, and to load it.
typedef struct tm_reader {
    // Is passed to the functions.
    void *context;
    // Returns the number of bytes that were read to `bytes`, at most `len`; 0 at the end, or a negative number for an error.
    intptr_t (*read)(void *context, uint8_t *bytes, uintptr_t len);
    // Continues with the first byte. Returns 0 for success.
    int (*rewind)(void *context);
} tm_reader;

// A clock of the program. A timer or a limit that is attached to an engine needs one, and so does the
// save of its state. Without a function, the tick is 0.
typedef struct tm_clock {
    // Returns the current tick. Ticks never decrease. The function must not call this library.
    uint64_t (*now)(void *context);
    // Is passed to `now`.
    void *context;
} tm_clock;

// The settings of tm_timer. 0 in every field is useful: an average timer without events.
typedef struct tm_timer_config {
    // Whether tm_timer_value returns the total instead of the average of a step: 0 or 1.
    uint8_t is_total;
    // With an engine: the clock.
    struct tm_clock clock;
    // With an engine: the events that set the timer to zero and start it.
    uint32_t start;
    // With an engine: the events that pause the timer.
    uint32_t pause;
    // With an engine: the events that let the timer continue.
    uint32_t resume;
    // With an engine: the events that count a step.
    uint32_t step;
} tm_timer_config;

// The settings of tm_time_limit.
typedef struct tm_time_limit_config {
    // The run stops when more than this number of ticks has elapsed; at least 1.
    uint64_t limit;
    // With an engine: the clock.
    struct tm_clock clock;
    // With an engine: the events at which the time is checked.
    uint32_t events;
    // With an engine: only every n-th of these events counts; 0 and 1 mean all.
    uint32_t every;
} tm_time_limit_config;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the version of the library. A program compares it with TM_VERSION of its header.
//
// Any thread and any interrupt can call this function.
uint32_t tm_version(void);

// Calls early stopping at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_early_stopping(struct tm_engine *engine, struct tm_early_stopping *stopping);

// Calls a timer at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_timer(struct tm_engine *engine, struct tm_timer *timer);

// Calls a time limit at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_time_limit(struct tm_engine *engine, struct tm_time_limit *limit);

// Calls a guard for outputs at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_nan_guard(struct tm_engine *engine,
                                     struct tm_nan_guard *guard);

// Calls a guard for weights at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_weight_guard(struct tm_engine *engine,
                                        struct tm_weight_guard *guard);

// Calls score limits at their events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_score_limits(struct tm_engine *engine, struct tm_score_limits *limits);

// Calls a running average at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_running_average(struct tm_engine *engine,
                                           struct tm_running_average *average);

// Calls a weight average at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED,
// TM_ERROR_MODEL if no object of the model has `average_of`, or if its tensors are not those of its weights.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_weight_average(struct tm_engine *engine,
                                          struct tm_weight_average *average);

// Calls a reduction at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_plateau(struct tm_engine *engine, struct tm_plateau *plateau);

// Calls a checkpoint object at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_checkpoint(struct tm_engine *engine,
                                      struct tm_checkpoint *checkpoint);

// Calls a function of the program at its events. It must exist as long as the engine. Errors: TM_ERROR_HANDLERS, TM_ERROR_STARTED.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_attach_callback(struct tm_engine *engine,
                                    struct tm_callback *callback);

// Initializes a running average. Errors: TM_ERROR_SETTING if alpha is not in its range.
//
// One thread or interrupt at a time can use an object.
tm_status tm_running_average_init(struct tm_running_average *average, const struct tm_running_average_config *config);

// Adds a value to the average. A NaN or an infinity does not change the average.
//
// One thread or interrupt at a time can use an object.
tm_status tm_running_average_update(struct tm_running_average *average, float value);

// Writes the average to `value`. Returns TM_NONE before the first finite value.
//
// One thread or interrupt at a time can use an object.
tm_status tm_running_average_value(const struct tm_running_average *average, float *value);

// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. Errors: TM_ERROR_BUFFER if
// `capacity` is too small.
//
// One thread or interrupt at a time can use an object.
tm_status tm_running_average_save(struct tm_running_average *average,
                                  uint8_t *bytes,
                                  uintptr_t capacity,
                                  uintptr_t *len);

// Restores a state that tm_running_average_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
//
// One thread or interrupt at a time can use an object.
tm_status tm_running_average_load(struct tm_running_average *average, const uint8_t *bytes, uintptr_t len);

// Initializes a weight average. Errors: TM_ERROR_SETTING if a momentum is not in its range.
//
// One thread or interrupt at a time can use an object.
tm_status tm_weight_average_init(struct tm_weight_average *average, const struct tm_weight_average_config *config);

// Copies the weights to the average and sets the number of updates to 0. Both arrays have `len` elements and do not overlap.
// Returns TM_STOP if a weight is NaN or infinite; nothing has changed then.
//
// One thread or interrupt at a time can use an object.
tm_status tm_weight_average_start(struct tm_weight_average *average,
                                  float *averaged,
                                  float *weights,
                                  uintptr_t len);

// Adds the weights to the average. The first call copies them. Both arrays have `len` elements and do not overlap. Returns
// TM_STOP if a weight is NaN or infinite; the average is then unchanged.
//
// One thread or interrupt at a time can use an object.
tm_status tm_weight_average_update(struct tm_weight_average *average,
                                   float *averaged,
                                   float *weights,
                                   uintptr_t len);

// Exchanges the weights and their average, for example for an evaluation. Both arrays have `len` elements and do not
// overlap.
//
// One thread or interrupt at a time can use the arrays.
tm_status tm_weight_average_swap(float *averaged, float *weights, uintptr_t len);

// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. The averaged weights are not part of
// it; save them as an object of the model. Errors: TM_ERROR_BUFFER if `capacity` is too small.
//
// One thread or interrupt at a time can use an object.
tm_status tm_weight_average_save(struct tm_weight_average *average,
                                 uint8_t *bytes,
                                 uintptr_t capacity,
                                 uintptr_t *len);

// Restores a state that tm_weight_average_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
//
// One thread or interrupt at a time can use an object.
tm_status tm_weight_average_load(struct tm_weight_average *average, const uint8_t *bytes, uintptr_t len);

// Initializes a callback. Errors: TM_ERROR_NULL if there is no function.
//
// One thread or interrupt at a time can use an object.
tm_status tm_callback_init(struct tm_callback *callback, const struct tm_callback_config *config);

// Initializes an object, opens the flash, and finds the stored checkpoints. Writes nothing to the flash. Other content of
// the region counts as free space. Errors: TM_ERROR_SETTING, TM_ERROR_GEOMETRY, TM_ERROR_SLOTS if there are not
// `n_saved` + 1 slots, TM_ERROR_OTHER_LAYOUT, TM_ERROR_DEVICE.
//
// Reads the whole region. One thread at a time can use an object and its flash; do not call from an interrupt.
tm_status tm_checkpoint_open_flash(struct tm_checkpoint *checkpoint,
                                   const struct tm_checkpoint_config *config,
                                   const struct tm_flash *flash);

// Erases a whole region with all its checkpoints, to divide it into other slots or to start over.
//
// Blocks for the time of all erases. One thread at a time can use a flash; do not call from an interrupt.
tm_status tm_checkpoint_erase_flash(const struct tm_flash *flash);

// Saves a model now, for a program without an engine. `step` identifies the checkpoint in its series. `score` is NaN if
// there is none; with `interval`, it is ignored. If the checkpoint ranks below all others, it is evicted at once.
//
// Errors: TM_ERROR_MODEL, TM_ERROR_NON_FINITE, TM_ERROR_TOO_LONG, TM_ERROR_BETTER_EXISTS, TM_ERROR_SLOTS, TM_ERROR_DEVICE,
// TM_ERROR_VERIFY. The stored checkpoints are unchanged in this case.
//
// Blocks while the flash is erased and written. One thread at a time can use an object; do not call from an interrupt.
tm_status tm_checkpoint_save(struct tm_checkpoint *checkpoint,
                             const struct tm_model *model,
                             uint32_t step,
                             float score,
                             uint32_t iteration);

// Loads the best checkpoint into the model; with `interval`, the latest one. If it is damaged, loads the next best one.
// Returns TM_NONE if the flash contains no checkpoint. If no checkpoint can be loaded, returns the error of the last
// attempt, and the model is unchanged.
//
// Reads the checkpoints. One thread at a time can use an object; do not call from an interrupt.
tm_status tm_checkpoint_load_best(struct tm_checkpoint *checkpoint,
                                  const struct tm_model *model,
                                  struct tm_loaded *loaded);

// Loads the checkpoint with a step into the model. Returns TM_NONE if there is none.
//
// Reads the checkpoint. One thread at a time can use an object; do not call from an interrupt.
tm_status tm_checkpoint_load_step(struct tm_checkpoint *checkpoint,
                                  const struct tm_model *model,
                                  uint32_t step,
                                  struct tm_loaded *loaded);

// Writes the step and the score of the best checkpoint to `best`; with `interval`, those of the latest one. Returns TM_NONE
// if there is none. The checkpoints are those of the model of the last save, load or run.
//
// One thread or interrupt at a time can use an object.
tm_status tm_checkpoint_best(const struct tm_checkpoint *checkpoint,
                             struct tm_decision *best);

// Writes the step and the score of the newest kept checkpoint to `latest`. Returns TM_NONE if there is none.
//
// One thread or interrupt at a time can use an object.
tm_status tm_checkpoint_latest(const struct tm_checkpoint *checkpoint, struct tm_decision *latest);

// Writes the step and the score of a kept checkpoint to `kept`. The index 0 is the worst one. Returns TM_NONE if the index
// is too high.
//
// One thread or interrupt at a time can use an object.
tm_status tm_checkpoint_kept(const struct tm_checkpoint *checkpoint,
                             uint32_t index,
                             struct tm_decision *kept);

// Returns why the last save or the start of the run failed, or TM_OK.
//
// One thread or interrupt at a time can use an object.
tm_status tm_checkpoint_last_error(const struct tm_checkpoint *checkpoint);

// Returns how often a slot was erased, or 0 if there is no such slot.
//
// One thread or interrupt at a time can use an object.
uint32_t tm_checkpoint_erases(const struct tm_checkpoint *checkpoint, uint32_t slot);

// Erases all checkpoints in the slots, to start over. Errors: TM_ERROR_DEVICE; some checkpoints may be erased already.
//
// Blocks while the flash is erased. One thread at a time can use an object; do not call from an interrupt.
tm_status tm_checkpoint_erase_all(struct tm_checkpoint *checkpoint);

// Erases one block ahead of the next save of a checkpoint with at most `len` bytes, so that the save is faster. Returns
// TM_STOP if no further call is useful, otherwise TM_OK. Do not call it at each start: erased blocks are not remembered.
//
// Blocks for one erase. One thread at a time can use an object; do not call from an interrupt.
tm_status tm_checkpoint_erase_ahead(struct tm_checkpoint *checkpoint,
                                    uint32_t len);

// Initializes early stopping. Errors: TM_ERROR_SETTING if the patience is 0, the threshold is negative or not finite,
// the baseline is not finite, or a mode is unknown.
//
// One thread or interrupt at a time can use an object.
tm_status tm_early_stopping_init(struct tm_early_stopping *stopping, const struct tm_early_stopping_config *config);

// Compares a score with the best score so far. Returns TM_STOP if the run should stop, otherwise TM_OK. A NaN is never an
// improvement.
//
// One thread or interrupt at a time can use an object.
tm_status tm_early_stopping_update(struct tm_early_stopping *stopping,
                                   float score);

// Returns the number of scores in a row without an improvement, or 0 for an object that is not initialized.
//
// One thread or interrupt at a time can use an object.
uint32_t tm_early_stopping_counter(const struct tm_early_stopping *stopping);

// Writes the best score so far to `best`. Returns TM_NONE if there is none.
//
// One thread or interrupt at a time can use an object.
tm_status tm_early_stopping_best(const struct tm_early_stopping *stopping, float *best);

// Sets the counter to 0 and removes the best score, for a new run with the same settings.
//
// One thread or interrupt at a time can use an object.
tm_status tm_early_stopping_reset(struct tm_early_stopping *stopping);

// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. Errors: TM_ERROR_BUFFER if
// `capacity` is too small.
//
// One thread or interrupt at a time can use an object.
tm_status tm_early_stopping_save(struct tm_early_stopping *stopping,
                                 uint8_t *bytes,
                                 uintptr_t capacity,
                                 uintptr_t *len);

// Restores a state that tm_early_stopping_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
//
// One thread or interrupt at a time can use an object.
tm_status tm_early_stopping_load(struct tm_early_stopping *stopping, const uint8_t *bytes, uintptr_t len);

// Initializes an engine without handlers. Errors: TM_ERROR_MODEL, TM_ERROR_NULL or TM_ERROR_MISALIGNED if the model is not
// valid.
//
// One thread or interrupt at a time can use an engine and its attached objects.
tm_status tm_engine_init(struct tm_engine *engine,
                         const struct tm_engine_config *config);

// Loads the newest checkpoint of the attached tm_checkpoint objects into the model, and restores the engine and all
// attached objects. Call it after all objects are attached, before the first iteration. Returns TM_NONE if there is no
// checkpoint; the run then starts at its beginning.
//
// Errors: TM_ERROR_NONE_LOADABLE: to start over, begin the run. TM_ERROR_OTHER_HANDLERS: to keep the weights only, call
// tm_checkpoint_load_best and begin the run. TM_ERROR_DEVICE, TM_ERROR_STATE, TM_ERROR_RECORD, TM_ERROR_UNREADABLE. Only
// after the last one, the model may have changed.
//
// Reads the flash, and writes it if an interrupted save must be repeated. Do not call from an interrupt.
tm_status tm_engine_resume(struct tm_engine *engine,
                           struct tm_resumed *resumed);

// Starts the next iteration: fires all events up to TM_ITERATION_STARTED. Returns TM_OK if the program should execute a
// step, and TM_STOP if the run is over; tm_engine_outcome then gives the reason.
//
// Errors: TM_ERROR_NOT_ENDED if tm_engine_end_iteration was not called. If no checkpoint can be saved, or a save has ended
// the run, returns the error of the save.
//
// May write the flash. Do not call from an interrupt.
tm_status tm_engine_begin_iteration(struct tm_engine *engine);

// Ends an iteration, with the output of its step, usually the loss. Fires TM_ITERATION_COMPLETED. After the last iteration
// of an epoch or of the run, also fires its final events. Returns TM_OK, or TM_STOP if the run is over.
//
// May write the flash. Do not call from an interrupt.
tm_status tm_engine_end_iteration(struct tm_engine *engine,
                                  float output);

// Ends the epoch, because the data has ended. The number of completed iterations becomes the length of all further epochs.
//
// May write the flash. Do not call from an interrupt.
tm_status tm_engine_end_data(struct tm_engine *engine);

// Sets a metric, which a score can use. `index` is less than TM_METRICS. The metrics start with 0.
//
// One thread or interrupt at a time can use an engine.
tm_status tm_engine_set_metric(struct tm_engine *engine, uint32_t index, float value);

// Terminates the run after the current step or event. `reason` is TM_REASON_USER + n, with n from 0 to 255.
//
// One thread or interrupt at a time can use an engine.
tm_status tm_engine_terminate(struct tm_engine *engine, uint32_t reason);

// Terminates the epoch after the current step or event. Outside an epoch it has no effect.
//
// One thread or interrupt at a time can use an engine.
tm_status tm_engine_terminate_epoch(struct tm_engine *engine);

// Interrupts the run after the current step, for example before the power is switched off. The event TM_INTERRUPT fires. The
// next call of tm_engine_begin_iteration returns TM_STOP; another call continues the run.
//
// One thread or interrupt at a time can use an engine.
tm_status tm_engine_interrupt(struct tm_engine *engine);

// Prepares a finished engine for a new run. A run that has not ended is unchanged.
//
// One thread or interrupt at a time can use an engine.
tm_status tm_engine_restart(struct tm_engine *engine);

// Changes the maximum number of epochs.
//
// One thread or interrupt at a time can use an engine.
tm_status tm_engine_set_max_epochs(struct tm_engine *engine, uint32_t max_epochs);

// Writes the reason and the place of the end of the run to `outcome`. Returns TM_NONE if the run has not ended. An interrupted
// run has not ended.
//
// One thread or interrupt at a time can use an engine.
tm_status tm_engine_outcome(const struct tm_engine *engine,
                            struct tm_outcome *outcome);

// Returns the number of the current epoch, starting at 1; 0 before the first one, or if the engine is not initialized.
//
// One thread or interrupt at a time can use an engine.
uint32_t tm_engine_epoch(const struct tm_engine *engine);

// Returns the number of the current iteration, starting at 1 and continuing over all epochs; 0 before the first one, or if
// the engine is not initialized.
//
// One thread or interrupt at a time can use an engine.
uint32_t tm_engine_iteration(const struct tm_engine *engine);

// Returns the number of completed iterations of the epoch: during a step, the index of its batch, starting at 0.
//
// One thread or interrupt at a time can use an engine.
uint32_t tm_engine_offset(const struct tm_engine *engine);

// Returns 1 if the current iteration is the last one of its epoch, otherwise 0. Before tm_engine_end_iteration of this
// iteration, a program evaluates the model and sets its metrics.
//
// One thread or interrupt at a time can use an engine.
uint32_t tm_engine_is_last_in_epoch(const struct tm_engine *engine);

// Returns TM_OK if all values are finite, and TM_STOP if one is NaN or infinite. This is the fastest check.
//
// Any thread and any interrupt can call this function.
tm_status tm_check_finite(const float *values, uintptr_t len);

// Writes the index of the first NaN or infinity to `index`. Returns TM_NONE if all values are finite.
//
// Any thread and any interrupt can call this function.
tm_status tm_first_non_finite(const float *values, uintptr_t len, uintptr_t *index);

// Initializes a guard for outputs.
//
// One thread or interrupt at a time can use an object.
tm_status tm_nan_guard_init(struct tm_nan_guard *guard, const struct tm_guard_config *config);

// Counts a call, and checks the values at every n-th call. Returns TM_STOP if one is NaN or infinite, otherwise TM_OK.
//
// One thread or interrupt at a time can use an object.
tm_status tm_nan_guard_update(struct tm_nan_guard *guard, const float *values, uintptr_t len);

// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. Errors: TM_ERROR_BUFFER if
// `capacity` is too small.
//
// One thread or interrupt at a time can use an object.
tm_status tm_nan_guard_save(struct tm_nan_guard *guard, uint8_t *bytes, uintptr_t capacity, uintptr_t *len);

// Restores a state that tm_nan_guard_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
//
// One thread or interrupt at a time can use an object.
tm_status tm_nan_guard_load(struct tm_nan_guard *guard, const uint8_t *bytes, uintptr_t len);

// Initializes a guard for weights.
//
// One thread or interrupt at a time can use an object.
tm_status tm_weight_guard_init(struct tm_weight_guard *guard, const struct tm_guard_config *config);

// Writes the position of the NaN or infinity that ended the run to `position`. Returns TM_NONE if there was none.
//
// One thread or interrupt at a time can use an object.
tm_status tm_weight_guard_position(const struct tm_weight_guard *guard, struct tm_position *position);

// Initializes score limits. Errors: TM_ERROR_SETTING if a limit is not finite or the mode is unknown.
//
// One thread or interrupt at a time can use an object.
tm_status tm_score_limits_init(struct tm_score_limits *limits, const struct tm_score_limits_config *config);

// Compares a score with the limits. If the run should stop, writes the reason to `reason`, for example
// TM_REASON_DIVERGED. Returns TM_NONE if the run continues.
//
// One thread or interrupt at a time can use an object.
tm_status tm_score_limits_update(const struct tm_score_limits *limits, float score, uint32_t *reason);

// Scales a gradient so that its L2 norm is at most `limit` (torch: clip_grad_norm_). The gradient consists of all float tensors
// of an object, which need not be part of a model. Writes the norm from before to `norm`; if it is not finite, the gradient is
// unchanged. Errors: TM_ERROR_SETTING unless the limit is finite and greater than 0.
//
// One thread or interrupt at a time can use the gradient.
tm_status tm_clip_norm(const struct tm_object *gradient,
                       float limit,
                       float *norm);

// Limits each element of a gradient to the range from −`limit` to `limit` (torch: clip_grad_value_). A NaN stays a NaN. The
// gradient and the errors are those of tm_clip_norm.
//
// One thread or interrupt at a time can use the gradient.
tm_status tm_clip_values(const struct tm_object *gradient,
                         float limit);

// Does the same as tm_checkpoint_open_flash for byte-addressable memory, which needs no erase. The memory must exist as long
// as the object. Errors: those of tm_checkpoint_open_flash; TM_ERROR_OTHER_LAYOUT also for a page size with another layout.
//
// Reads the whole region. One thread at a time can use an object and its memory; do not call from an interrupt.
tm_status tm_checkpoint_open_memory(struct tm_checkpoint *checkpoint,
                                    const struct tm_checkpoint_config *config,
                                    const struct tm_memory *memory);

// Writes zeros to a whole region with all its checkpoints, to divide it into other slots or to start over. Errors:
// TM_ERROR_GEOMETRY, TM_ERROR_DEVICE.
//
// Blocks for the time of the writes. One thread at a time can use a memory; do not call from an interrupt.
tm_status tm_checkpoint_erase_memory(const struct tm_memory *memory);

// Does not exist. A program that contains a call of the panic handler does not link.
extern void training_monitor_code_can_panic(void);

// Initializes a policy. It uses only the fields `n_saved`, `interval`, `greater_or_equal` and the initial threshold.
//
// One thread or interrupt at a time can use an object.
tm_status tm_policy_init(struct tm_policy *policy, const struct tm_checkpoint_config *config);

// Counts a call and decides whether to save. Writes the step and the score of the save to `decision`. Returns TM_NONE if
// there is nothing to save. With `interval`, the score is ignored. A NaN score is never saved as best.
//
// One thread or interrupt at a time can use an object.
tm_status tm_policy_update(struct tm_policy *policy,
                           float score,
                           struct tm_decision *decision);

// Ranks a checkpoint that the program has saved. Writes the checkpoint that the program must remove to `evicted`. Returns
// TM_NONE if there is nothing to remove. Call it only after the checkpoint is stored.
//
// One thread or interrupt at a time can use an object.
tm_status tm_policy_commit(struct tm_policy *policy,
                           const struct tm_decision *decision,
                           struct tm_decision *evicted);

// Ranks a stored checkpoint after a restart. Call it for all stored checkpoints, the oldest first. Writes a checkpoint that
// has no rank to `evicted`. Returns TM_NONE if there is none.
//
// One thread or interrupt at a time can use an object.
tm_status tm_policy_restore(struct tm_policy *policy,
                            const struct tm_decision *decision,
                            struct tm_decision *evicted);

// Writes the best checkpoint to `best`; with `interval`, the latest one. Returns TM_NONE if there is none.
//
// One thread or interrupt at a time can use an object.
tm_status tm_policy_best(const struct tm_policy *policy, struct tm_decision *best);

// Writes the newest kept checkpoint to `latest`. Returns TM_NONE if there is none.
//
// One thread or interrupt at a time can use an object.
tm_status tm_policy_latest(const struct tm_policy *policy, struct tm_decision *latest);

// Writes a kept checkpoint to `kept`. The index 0 is the worst one. Returns TM_NONE if the index is too high.
//
// One thread or interrupt at a time can use an object.
tm_status tm_policy_kept(const struct tm_policy *policy, uint32_t index, struct tm_decision *kept);

// `base` × gamma^(step / step_size), rounded down (torch: StepLR).
//
// The first step is 0. With an engine, pass tm_engine_iteration or tm_engine_epoch less 1, so that a resumed run continues with
// the same value. This applies to all schedules.
//
// Any thread and any interrupt can call this function.
tm_status tm_step_decay(float base,
                        uint32_t step_size,
                        float gamma,
                        uint32_t step,
                        float *value);

// `base` × gamma^step (torch: ExponentialLR).
//
// Any thread and any interrupt can call this function.
tm_status tm_exponential(float base, float gamma, uint32_t step, float *value);

// `base` × a factor that changes linearly from `start_factor` to `end_factor` in `total` steps (torch: LinearLR).
//
// Any thread and any interrupt can call this function.
tm_status tm_linear(float base, float start_factor, float end_factor, uint32_t total, uint32_t step, float *value);

// `base` × (1 − step / total)^power (torch: PolynomialLR).
//
// Any thread and any interrupt can call this function.
tm_status tm_polynomial(float base, float power, uint32_t total, uint32_t step, float *value);

// Half a cosine from `base` to `minimum` in `t_max` steps (torch: CosineAnnealingLR).
//
// Any thread and any interrupt can call this function.
tm_status tm_cosine(float base, float minimum, uint32_t t_max, uint32_t step, float *value);

// Half cosines from `base` to `minimum`. The first has `t_0` steps, each further one `t_mult` times as many (torch: CosineAnnealingWarmRestarts).
//
// Any thread and any interrupt can call this function.
tm_status tm_cosine_restarts(float base,
                             float minimum,
                             uint32_t t_0,
                             uint32_t t_mult,
                             uint32_t step,
                             float *value);

// One cycle of `total` steps: from maximum / 25 to `maximum`, and down to a 250000th of it (torch: OneCycleLR with its defaults).
//
// Any thread and any interrupt can call this function.
tm_status tm_one_cycle(float maximum,
                       uint32_t total,
                       uint32_t step,
                       float *value);

// Triangles between `base` and `maximum` (torch: CyclicLR, triangular).
//
// Any thread and any interrupt can call this function.
tm_status tm_cyclic(float base, float maximum, uint32_t steps_up, uint32_t steps_down, uint32_t step, float *value);

// `base` × gamma^n, where n is the number of milestones up to the step (torch: MultiStepLR). The milestones are in
// ascending order.
//
// Any thread and any interrupt can call this function.
tm_status tm_multi_step(float base,
                        const uint32_t *milestones,
                        uintptr_t count,
                        float gamma,
                        uint32_t step,
                        float *value);

// Initializes the reduction. Errors: TM_ERROR_SETTING if a setting is not in its range.
//
// One thread or interrupt at a time can use an object.
tm_status tm_plateau_init(struct tm_plateau *plateau, const struct tm_plateau_config *config);

// Passes a metric to the object, which then may have a lower value.
//
// One thread or interrupt at a time can use an object.
tm_status tm_plateau_update(struct tm_plateau *plateau, float metric);

// Returns the current value, or NaN for an object that is not initialized.
//
// One thread or interrupt at a time can use an object.
float tm_plateau_value(const struct tm_plateau *plateau);

// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. Errors: TM_ERROR_BUFFER if
// `capacity` is too small.
//
// One thread or interrupt at a time can use an object.
tm_status tm_plateau_save(struct tm_plateau *plateau, uint8_t *bytes, uintptr_t capacity, uintptr_t *len);

// Restores a state that tm_plateau_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
//
// One thread or interrupt at a time can use an object.
tm_status tm_plateau_load(struct tm_plateau *plateau, const uint8_t *bytes, uintptr_t len);

// Returns a text for a status, in English. The text is a constant. An unknown number also has a text.
//
// Any thread and any interrupt can call this function.
const char *tm_strerror(int32_t status);

// Writes one checkpoint to a writer: the model, and the states of an engine and its attached objects if `engine` is not
// null. Writes the number of bytes to `len`. The writer can be called many times, also with one byte. A failed save leaves an
// incomplete stream, which no function loads. Errors: TM_ERROR_DEVICE if the writer fails, TM_ERROR_MODEL,
// TM_ERROR_NON_FINITE, TM_ERROR_RECORD.
//
// One thread at a time can use the model and the engine; do not call from an interrupt.
tm_status tm_save(const struct tm_writer *writer,
                  const struct tm_model *model,
                  uint32_t step,
                  struct tm_engine *engine,
                  uint32_t *len);

// Writes the largest length of a checkpoint without an engine to `len`, to choose the size of a buffer or of a slot. The names
// of the score and of the series add their lengths. With an engine, a checkpoint can have up to 64 + TM_RECORD_CAPACITY bytes
// more. Errors: TM_ERROR_MODEL, TM_ERROR_NON_FINITE.
//
// One thread at a time can use the model.
tm_status tm_measure(const struct tm_model *model,
                     uint32_t *len);

// Verifies one checkpoint and loads it from a reader: the model, and the states of an engine and its attached objects if
// `engine` is not null. Errors: TM_ERROR_DEVICE if the reader fails, TM_ERROR_DAMAGED, TM_ERROR_VERSION,
// TM_ERROR_OTHER_MODEL; with an engine also TM_ERROR_OTHER_HANDLERS, and TM_ERROR_STATE if the checkpoint was saved without
// an engine. Nothing has changed then, except if the reader returned other bytes the second time (TM_ERROR_UNREADABLE).
//
// One thread at a time can use the model and the engine; do not call from an interrupt.
tm_status tm_load(const struct tm_reader *reader,
                  const struct tm_model *model,
                  struct tm_engine *engine,
                  struct tm_loaded *loaded);

// Verifies one checkpoint in memory and loads it, as tm_load does.
//
// One thread at a time can use the model and the engine; do not call from an interrupt.
tm_status tm_load_bytes(const uint8_t *bytes,
                        uintptr_t len,
                        const struct tm_model *model,
                        struct tm_engine *engine,
                        struct tm_loaded *loaded);

// Initializes a timer, which runs from the tick `now`.
//
// One thread or interrupt at a time can use an object.
tm_status tm_timer_init(struct tm_timer *timer, const struct tm_timer_config *config, uint64_t now);

// Sets total and steps to zero and starts the timer at the tick `now`.
//
// One thread or interrupt at a time can use an object.
tm_status tm_timer_reset(struct tm_timer *timer, uint64_t now);

// Pauses the timer. Has no effect if it is paused.
//
// One thread or interrupt at a time can use an object.
tm_status tm_timer_pause(struct tm_timer *timer, uint64_t now);

// Lets a paused timer continue. Has no effect if it is running.
//
// One thread or interrupt at a time can use an object.
tm_status tm_timer_resume(struct tm_timer *timer, uint64_t now);

// Counts a step.
//
// One thread or interrupt at a time can use an object.
tm_status tm_timer_step(struct tm_timer *timer);

// Returns the ticks of all completed intervals, or 0 for an object that is not initialized.
//
// One thread or interrupt at a time can use an object.
uint64_t tm_timer_total(const struct tm_timer *timer);

// Returns the ticks until `now`, divided by the number of steps (Ignite's value), or 0 for an object that is not
// initialized.
//
// One thread or interrupt at a time can use an object.
uint64_t tm_timer_value(const struct tm_timer *timer, uint64_t now);

// Returns the number of steps, or 0 for an object that is not initialized.
//
// One thread or interrupt at a time can use an object.
uint32_t tm_timer_steps(const struct tm_timer *timer);

// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. A running timer reads its clock.
// Errors: TM_ERROR_BUFFER if `capacity` is too small.
//
// One thread or interrupt at a time can use an object.
tm_status tm_timer_save(struct tm_timer *timer, uint8_t *bytes, uintptr_t capacity, uintptr_t *len);

// Restores a state that tm_timer_save has written. A running timer reads its clock. Errors: TM_ERROR_STATE if the bytes are
// no such state.
//
// One thread or interrupt at a time can use an object.
tm_status tm_timer_load(struct tm_timer *timer,
                        const uint8_t *bytes,
                        uintptr_t len);

// Initializes a time limit. Errors: TM_ERROR_SETTING if the limit is 0.
//
// One thread or interrupt at a time can use an object.
tm_status tm_time_limit_init(struct tm_time_limit *limit, const struct tm_time_limit_config *config);

// Starts the measurement at the tick `now`, with an elapsed time of 0.
//
// One thread or interrupt at a time can use an object.
tm_status tm_time_limit_start(struct tm_time_limit *limit, uint64_t now);

// Adds the time until the tick `now`. Returns TM_STOP if the time is used up, otherwise TM_OK.
//
// One thread or interrupt at a time can use an object.
tm_status tm_time_limit_update(struct tm_time_limit *limit, uint64_t now);

// Returns the elapsed ticks, or 0 for an object that is not initialized.
//
// One thread or interrupt at a time can use an object.
uint64_t tm_time_limit_elapsed(const struct tm_time_limit *limit);

// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. A running limit reads its clock.
// Errors: TM_ERROR_BUFFER if `capacity` is too small.
//
// One thread or interrupt at a time can use an object.
tm_status tm_time_limit_save(struct tm_time_limit *limit, uint8_t *bytes, uintptr_t capacity, uintptr_t *len);

// Restores a state that tm_time_limit_save has written. A running limit reads its clock. Errors: TM_ERROR_STATE if the bytes are
// no such state.
//
// One thread or interrupt at a time can use an object.
tm_status tm_time_limit_load(struct tm_time_limit *limit,
                             const uint8_t *bytes,
                             uintptr_t len);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TRAINING_MONITOR_H */
