/* training-monitor for C++17: a header-only layer over training_monitor.h, without a heap, exceptions or virtual functions.
 *
 * Each class contains one object of the C interface. It cannot be copied or moved, because an engine keeps the addresses of its
 * attached objects. Before its `init` or `open`, every call returns TM_ERROR_NOT_INITIALIZED. An object needs no cleanup. The
 * comments of training_monitor.h apply; this header describes only what differs. A class converts to the pointer that the
 * C functions take, so both interfaces can be mixed.
 */
#ifndef TRAINING_MONITOR_HPP
#define TRAINING_MONITOR_HPP

#if __cplusplus < 201703L && !(defined(_MSVC_LANG) && _MSVC_LANG >= 201703L)
#error "training_monitor.hpp needs C++17"
#endif

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "training_monitor.h"

namespace training_monitor {

using Status = tm_status;

constexpr bool is_error(Status status) { return status < 0; }
inline const char *text(Status status) { return tm_strerror(status); }

/* -------------------------------------------------------------------------------------------------------------- model */

namespace detail {

template <class> constexpr bool is_unknown = false;

template <class E> constexpr std::uint8_t kind() {
    if constexpr (std::is_same_v<E, float>) return TM_F32;
    else if constexpr (std::is_same_v<E, double>) return TM_F64;
    else if constexpr (std::is_same_v<E, bool>) return TM_BOOL;
    else if constexpr (std::is_integral_v<E> && sizeof(E) == 1) return std::is_signed_v<E> ? TM_I8 : TM_U8;
    else if constexpr (std::is_integral_v<E> && sizeof(E) == 2) return std::is_signed_v<E> ? TM_I16 : TM_U16;
    else if constexpr (std::is_integral_v<E> && sizeof(E) == 4) return std::is_signed_v<E> ? TM_I32 : TM_U32;
    else if constexpr (std::is_integral_v<E> && sizeof(E) == 8) return std::is_signed_v<E> ? TM_I64 : TM_U64;
    else static_assert(is_unknown<E>, "this type cannot be the element of a tensor");
}

template <class A> constexpr void set_shape(tm_tensor &tensor) {
    if constexpr (std::is_array_v<A>) {
        tensor.shape[tensor.rank++] = static_cast<std::uint32_t>(std::extent_v<A>);
        set_shape<std::remove_extent_t<A>>(tensor);
    }
}

}  // namespace detail

/* Describes a number or an array of any rank. The shape and the element type are those of the C++ type. */
template <class A> constexpr tm_tensor tensor(const char *name, A &values) {
    static_assert(std::rank_v<A> <= TM_MAX_RANK, "the array has too many dimensions");
    tm_tensor described{};
    described.name = name;
    described.data = &values;
    described.kind = detail::kind<std::remove_all_extents_t<A>>();
    detail::set_shape<A>(described);
    return described;
}

/* Describes an array whose length is known at run time. */
template <class E> constexpr tm_tensor tensor(const char *name, E *values, std::uint32_t len) {
    tm_tensor described{};
    described.name = name;
    described.data = values;
    described.kind = detail::kind<E>();
    described.shape[0] = len;
    described.rank = 1;
    return described;
}

/* An object with tensors. tm_weight_guard checks guarded objects. */
template <std::size_t N> constexpr tm_object object(const char *name, const tm_tensor (&tensors)[N], bool is_guarded = false) {
    tm_object described{};
    described.name = name;
    described.tensors = tensors;
    described.tensor_count = N;
    described.is_guarded = is_guarded;
    return described;
}

/* An object that is the average of another one. */
template <std::size_t N>
constexpr tm_object average(const char *name, const tm_tensor (&tensors)[N], const tm_object &weights) {
    tm_object described = object(name, tensors);
    described.average_of = &weights;
    return described;
}

/* An object that is one number. */
constexpr tm_object object(const char *name, std::uint64_t &number) {
    tm_object described{};
    described.name = name;
    described.number = &number;
    return described;
}

template <std::size_t N> constexpr tm_model model(const tm_object (&objects)[N]) { return {objects, N}; }

/* -------------------------------------------------------------------------------------------------- flash and memory */

/* The units and the region of a flash. */
struct FlashLayout {
    std::uint32_t start, size, slots, erase_size, write_size, read_size = 1;
};

/* A flash whose driver is an object with the functions
 *   bool read(uint32_t address, uint8_t *bytes, size_t len), bool program(uint32_t, const uint8_t *, size_t) and
 *   bool erase(uint32_t address, uint32_t len),
 * which return true for success. */
template <class Driver> tm_flash flash(Driver &driver, const FlashLayout &layout) {
    tm_flash described{};
    described.context = &driver;
    described.read = [](void *context, std::uint32_t address, std::uint8_t *bytes, std::size_t len) {
        return static_cast<Driver *>(context)->read(address, bytes, len) ? 0 : 1;
    };
    described.program = [](void *context, std::uint32_t address, const std::uint8_t *bytes, std::size_t len) {
        return static_cast<Driver *>(context)->program(address, bytes, len) ? 0 : 1;
    };
    described.erase = [](void *context, std::uint32_t address, std::uint32_t len) {
        return static_cast<Driver *>(context)->erase(address, len) ? 0 : 1;
    };
    described.start = layout.start;
    described.size = layout.size;
    described.slots = layout.slots;
    described.erase_size = layout.erase_size;
    described.write_size = layout.write_size;
    described.read_size = layout.read_size;
    return described;
}

/* The region of a byte-addressable memory. */
struct MemoryLayout {
    std::uint32_t start, size, slots, page_size = 1;
};

/* A byte-addressable memory whose driver has the functions read and write, with the parameters of a flash driver. */
template <class Driver> tm_memory memory(Driver &driver, const MemoryLayout &layout) {
    tm_memory described{};
    described.context = &driver;
    described.read = [](void *context, std::uint32_t address, std::uint8_t *bytes, std::size_t len) {
        return static_cast<Driver *>(context)->read(address, bytes, len) ? 0 : 1;
    };
    described.write = [](void *context, std::uint32_t address, const std::uint8_t *bytes, std::size_t len) {
        return static_cast<Driver *>(context)->write(address, bytes, len) ? 0 : 1;
    };
    described.start = layout.start;
    described.size = layout.size;
    described.slots = layout.slots;
    described.page_size = layout.page_size;
    return described;
}

/* A clock: a function object that returns the tick. It must exist as long as the clock. */
template <class Now> tm_clock clock(Now &now) {
    tm_clock described{};
    described.context = &now;
    described.now = [](void *context) -> std::uint64_t { return (*static_cast<Now *>(context))(); };
    return described;
}

/* ------------------------------------------------------------------------------------------------------------ objects */

/* The memory of an object of the C interface. */
template <class T> class Object {
public:
    Object() = default;
    Object(const Object &) = delete;
    Object &operator=(const Object &) = delete;

    operator T *() { return &memory_; }
    operator const T *() const { return &memory_; }

private:
    T memory_{};
};

/* An object whose state can be saved without an engine, to at most TM_MAX_STATE bytes. */
template <class T, Status (*Save)(T *, std::uint8_t *, std::size_t, std::size_t *),
          Status (*Load)(T *, const std::uint8_t *, std::size_t)>
class Persistent : public Object<T> {
public:
    [[nodiscard]] Status save(std::uint8_t *bytes, std::size_t capacity, std::size_t &len) {
        return Save(*this, bytes, capacity, &len);
    }
    [[nodiscard]] Status load(const std::uint8_t *bytes, std::size_t len) { return Load(*this, bytes, len); }
};

struct EarlyStopping : Persistent<tm_early_stopping, tm_early_stopping_save, tm_early_stopping_load> {
    [[nodiscard]] Status init(const tm_early_stopping_config &config) { return tm_early_stopping_init(*this, &config); }
    Status update(float score) { return tm_early_stopping_update(*this, score); }
    std::uint32_t counter() const { return tm_early_stopping_counter(*this); }
    Status best(float &score) const { return tm_early_stopping_best(*this, &score); }
    Status reset() { return tm_early_stopping_reset(*this); }
};

struct Timer : Persistent<tm_timer, tm_timer_save, tm_timer_load> {
    [[nodiscard]] Status init(const tm_timer_config &config, std::uint64_t now) { return tm_timer_init(*this, &config, now); }
    Status reset(std::uint64_t now) { return tm_timer_reset(*this, now); }
    Status pause(std::uint64_t now) { return tm_timer_pause(*this, now); }
    Status resume(std::uint64_t now) { return tm_timer_resume(*this, now); }
    Status step() { return tm_timer_step(*this); }
    std::uint64_t total() const { return tm_timer_total(*this); }
    std::uint64_t value(std::uint64_t now) const { return tm_timer_value(*this, now); }
    std::uint32_t steps() const { return tm_timer_steps(*this); }
};

struct TimeLimit : Persistent<tm_time_limit, tm_time_limit_save, tm_time_limit_load> {
    [[nodiscard]] Status init(const tm_time_limit_config &config) { return tm_time_limit_init(*this, &config); }
    Status start(std::uint64_t now) { return tm_time_limit_start(*this, now); }
    Status update(std::uint64_t now) { return tm_time_limit_update(*this, now); }
    std::uint64_t elapsed() const { return tm_time_limit_elapsed(*this); }
};

struct NanGuard : Persistent<tm_nan_guard, tm_nan_guard_save, tm_nan_guard_load> {
    [[nodiscard]] Status init(const tm_guard_config &config) { return tm_nan_guard_init(*this, &config); }
    Status update(const float *values, std::size_t len) { return tm_nan_guard_update(*this, values, len); }
};

struct WeightGuard : Object<tm_weight_guard> {
    [[nodiscard]] Status init(const tm_guard_config &config) { return tm_weight_guard_init(*this, &config); }
    Status position(tm_position &found) const { return tm_weight_guard_position(*this, &found); }
};

struct ScoreLimits : Object<tm_score_limits> {
    [[nodiscard]] Status init(const tm_score_limits_config &config) { return tm_score_limits_init(*this, &config); }
    Status update(float score, std::uint32_t &reason) const { return tm_score_limits_update(*this, score, &reason); }
};

struct RunningAverage : Persistent<tm_running_average, tm_running_average_save, tm_running_average_load> {
    [[nodiscard]] Status init(const tm_running_average_config &config) { return tm_running_average_init(*this, &config); }
    Status update(float value) { return tm_running_average_update(*this, value); }
    Status value(float &average) const { return tm_running_average_value(*this, &average); }
};

struct WeightAverage : Persistent<tm_weight_average, tm_weight_average_save, tm_weight_average_load> {
    [[nodiscard]] Status init(const tm_weight_average_config &config) { return tm_weight_average_init(*this, &config); }
    Status start(float *averaged, float *weights, std::size_t len) {
        return tm_weight_average_start(*this, averaged, weights, len);
    }
    Status update(float *averaged, float *weights, std::size_t len) {
        return tm_weight_average_update(*this, averaged, weights, len);
    }
};

/* Exchanges weights and their average, and exchanges them back at the end of its scope, for example around an evaluation. */
class SwappedWeights {
public:
    SwappedWeights(float *averaged, float *weights, std::size_t len)
        : averaged_(averaged), weights_(weights), len_(len), status_(tm_weight_average_swap(averaged, weights, len)) {}
    SwappedWeights(const SwappedWeights &) = delete;
    SwappedWeights &operator=(const SwappedWeights &) = delete;
    ~SwappedWeights() {
        if (status_ == TM_OK) tm_weight_average_swap(averaged_, weights_, len_);
    }
    Status status() const { return status_; }

private:
    float *averaged_, *weights_;
    std::size_t len_;
    Status status_;
};

struct Plateau : Persistent<tm_plateau, tm_plateau_save, tm_plateau_load> {
    [[nodiscard]] Status init(const tm_plateau_config &config) { return tm_plateau_init(*this, &config); }
    Status update(float metric) { return tm_plateau_update(*this, metric); }
    float value() const { return tm_plateau_value(*this); }
};

struct Policy : Object<tm_policy> {
    [[nodiscard]] Status init(const tm_checkpoint_config &config) { return tm_policy_init(*this, &config); }
    Status update(float score, tm_decision &decision) { return tm_policy_update(*this, score, &decision); }
    Status commit(const tm_decision &saved, tm_decision &evicted) { return tm_policy_commit(*this, &saved, &evicted); }
    Status restore(const tm_decision &stored, tm_decision &evicted) { return tm_policy_restore(*this, &stored, &evicted); }
    Status best(tm_decision &found) const { return tm_policy_best(*this, &found); }
    Status latest(tm_decision &found) const { return tm_policy_latest(*this, &found); }
    Status kept(std::uint32_t index, tm_decision &found) const { return tm_policy_kept(*this, index, &found); }
};

struct Checkpoint : Object<tm_checkpoint> {
    [[nodiscard]] Status open(const tm_checkpoint_config &config, const tm_flash &flash) {
        return tm_checkpoint_open_flash(*this, &config, &flash);
    }
    /* The memory must exist as long as the checkpoint. */
    [[nodiscard]] Status open(const tm_checkpoint_config &config, const tm_memory &memory) {
        return tm_checkpoint_open_memory(*this, &config, &memory);
    }
    Status open(const tm_checkpoint_config &config, const tm_memory &&memory) = delete;
    [[nodiscard]] Status save(const tm_model &model, std::uint32_t step, float score, std::uint32_t iteration) {
        return tm_checkpoint_save(*this, &model, step, score, iteration);
    }
    [[nodiscard]] Status load_best(const tm_model &model, tm_loaded &loaded) {
        return tm_checkpoint_load_best(*this, &model, &loaded);
    }
    [[nodiscard]] Status load_step(const tm_model &model, std::uint32_t step, tm_loaded &loaded) {
        return tm_checkpoint_load_step(*this, &model, step, &loaded);
    }
    Status best(tm_decision &found) const { return tm_checkpoint_best(*this, &found); }
    Status latest(tm_decision &found) const { return tm_checkpoint_latest(*this, &found); }
    Status kept(std::uint32_t index, tm_decision &found) const { return tm_checkpoint_kept(*this, index, &found); }
    Status last_error() const { return tm_checkpoint_last_error(*this); }
    std::uint32_t erases(std::uint32_t slot) const { return tm_checkpoint_erases(*this, slot); }
    [[nodiscard]] Status erase_all() { return tm_checkpoint_erase_all(*this); }
    Status erase_ahead(std::uint32_t len) { return tm_checkpoint_erase_ahead(*this, len); }
};

struct Callback : Object<tm_callback> {
    /* `function` is an object that can be called with a `const tm_event &` and returns an action, such as TM_ACTION_CONTINUE. It
     * must exist as long as the engine. */
    template <class Function> [[nodiscard]] Status init(Function &function, std::uint32_t events) {
        tm_callback_config config{};
        config.context = &function;
        config.function = [](void *context, const tm_event *event) -> std::uint32_t {
            return (*static_cast<Function *>(context))(*event);
        };
        config.events = events;
        return tm_callback_init(*this, &config);
    }
};

/* ------------------------------------------------------------------------------------------------------------- engine */

struct Engine : Object<tm_engine> {
    [[nodiscard]] Status init(const tm_engine_config &config) { return tm_engine_init(*this, &config); }

    [[nodiscard]] Status attach(EarlyStopping &handler) { return tm_engine_attach_early_stopping(*this, handler); }
    [[nodiscard]] Status attach(Timer &handler) { return tm_engine_attach_timer(*this, handler); }
    [[nodiscard]] Status attach(TimeLimit &handler) { return tm_engine_attach_time_limit(*this, handler); }
    [[nodiscard]] Status attach(NanGuard &handler) { return tm_engine_attach_nan_guard(*this, handler); }
    [[nodiscard]] Status attach(WeightGuard &handler) { return tm_engine_attach_weight_guard(*this, handler); }
    [[nodiscard]] Status attach(ScoreLimits &handler) { return tm_engine_attach_score_limits(*this, handler); }
    [[nodiscard]] Status attach(RunningAverage &handler) { return tm_engine_attach_running_average(*this, handler); }
    [[nodiscard]] Status attach(WeightAverage &handler) { return tm_engine_attach_weight_average(*this, handler); }
    [[nodiscard]] Status attach(Plateau &handler) { return tm_engine_attach_plateau(*this, handler); }
    [[nodiscard]] Status attach(Checkpoint &handler) { return tm_engine_attach_checkpoint(*this, handler); }
    [[nodiscard]] Status attach(Callback &handler) { return tm_engine_attach_callback(*this, handler); }

    /* Attaches all handlers in this order. Stops at the first error and returns it. */
    template <class First, class Second, class... Rest>
    [[nodiscard]] Status attach(First &first, Second &second, Rest &...rest) {
        const Status status = attach(first);
        return is_error(status) ? status : attach(second, rest...);
    }

    [[nodiscard]] Status resume(tm_resumed &resumed) { return tm_engine_resume(*this, &resumed); }
    [[nodiscard]] Status begin_iteration() { return tm_engine_begin_iteration(*this); }
    Status end_iteration(float output) { return tm_engine_end_iteration(*this, output); }
    Status end_data() { return tm_engine_end_data(*this); }
    Status set_metric(std::uint32_t index, float value) { return tm_engine_set_metric(*this, index, value); }
    Status terminate(std::uint8_t number) { return tm_engine_terminate(*this, TM_REASON_USER + number); }
    Status terminate_epoch() { return tm_engine_terminate_epoch(*this); }
    Status interrupt() { return tm_engine_interrupt(*this); }
    Status restart() { return tm_engine_restart(*this); }
    Status set_max_epochs(std::uint32_t max_epochs) { return tm_engine_set_max_epochs(*this, max_epochs); }
    Status outcome(tm_outcome &outcome) const { return tm_engine_outcome(*this, &outcome); }
    std::uint32_t epoch() const { return tm_engine_epoch(*this); }
    std::uint32_t iteration() const { return tm_engine_iteration(*this); }
    std::uint32_t offset() const { return tm_engine_offset(*this); }
    bool is_last_in_epoch() const { return tm_engine_is_last_in_epoch(*this) == 1; }
};

}  // namespace training_monitor

#endif
