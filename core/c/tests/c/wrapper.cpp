// The C++17 layer: a run with every kind of handler in flash and in a memory, and the use of each object without an engine.
#include "training_monitor.hpp"

#include <cmath>
#include <cstring>

#include "check.h"

namespace monitor = training_monitor;
using monitor::tensor;

struct Chip {
    std::uint8_t bytes[4 * 1024];
    unsigned writes = 0, fail_at = 0;

    bool read(std::uint32_t address, std::uint8_t *into, std::size_t len) {
        std::memcpy(into, bytes + address, len);
        return true;
    }
    bool program(std::uint32_t address, const std::uint8_t *from, std::size_t len) {
        if (++writes == fail_at) return false;
        std::memcpy(bytes + address, from, len);
        return true;
    }
    bool write(std::uint32_t address, const std::uint8_t *from, std::size_t len) { return program(address, from, len); }
    bool erase(std::uint32_t address, std::uint32_t len) {
        std::memset(bytes + address, 0xff, len);
        return true;
    }
};

static_assert(!std::is_copy_constructible_v<monitor::Engine> && !std::is_move_constructible_v<monitor::Engine>);
static_assert(!std::is_copy_assignable_v<monitor::Checkpoint> && !std::is_polymorphic_v<monitor::Checkpoint>);
static_assert(sizeof(monitor::Engine) == sizeof(tm_engine) && sizeof(monitor::Checkpoint) == sizeof(tm_checkpoint));

struct Network {
    float matrix[2][3] = {};
    float bias[2] = {};
    float average[2][3] = {}, average_bias[2] = {};
    std::int8_t codes[4] = {1, -2, 3, -4};
    std::uint64_t seed = 7;
};

static void test_descriptions() {
    Network network;
    bool flag = true;
    double number = 0;
    std::uint32_t counts[4][1][2] = {};
    const tm_tensor matrix = tensor("matrix", network.matrix), codes = tensor("codes", network.codes, 3);
    CHECK(matrix.rank == 2 && matrix.shape[0] == 2 && matrix.shape[1] == 3 && matrix.kind == TM_F32);
    CHECK(codes.rank == 1 && codes.shape[0] == 3 && codes.kind == TM_I8 && codes.data == network.codes);
    CHECK(tensor("flag", flag).kind == TM_BOOL && tensor("flag", flag).rank == 0 && tensor("n", number).kind == TM_F64);
    CHECK(tensor("counts", counts).rank == 3 && tensor("counts", counts).shape[2] == 2);
    CHECK(tensor("counts", counts).kind == TM_U32);
    CHECK(std::strcmp(monitor::text(TM_OK), "success") == 0 && monitor::is_error(TM_ERROR_NULL) && !monitor::is_error(TM_NONE));
}

// Trains until the run is over, or until `steps` steps are done. Returns the last status of the engine.
template <class Place> static tm_status train(Network &network, const Place &place, unsigned steps, tm_outcome &outcome) {
    const tm_tensor weights[] = {tensor("matrix", network.matrix), tensor("bias", network.bias)};
    const tm_tensor averages[] = {tensor("matrix", network.average), tensor("bias", network.average_bias)};
    const tm_tensor codes[] = {tensor("codes", network.codes)};
    tm_object objects[] = {monitor::object("model", weights, true), {}, monitor::object("codes", codes),
                           monitor::object("seed", network.seed)};
    objects[1] = monitor::average("average", averages, objects[0]);

    monitor::Engine engine;
    monitor::EarlyStopping stopping;
    monitor::NanGuard loss_guard;
    monitor::WeightGuard weight_guard;
    monitor::WeightAverage average;
    monitor::RunningAverage loss_average;
    monitor::ScoreLimits limits;
    monitor::Plateau plateau;
    monitor::Timer timer;
    monitor::TimeLimit time_limit;
    monitor::Checkpoint latest;
    monitor::Callback callback;
    std::uint64_t ticks = 0;
    auto now = [&ticks] { return ++ticks; };
    unsigned events = 0;
    auto count = [&events](const tm_event &event) {
        events += event.event == TM_EPOCH_COMPLETED;
        return TM_ACTION_CONTINUE;
    };

    tm_engine_config config{};
    config.max_epochs = 5;
    config.epoch_length = 4;
    config.model = monitor::model(objects);
    CHECK(engine.begin_iteration() == TM_ERROR_NOT_INITIALIZED);
    CHECK(engine.init(config) == TM_OK);
    tm_early_stopping_config stop_after{};
    stop_after.patience = 100;
    stop_after.events = TM_EPOCH_COMPLETED;
    CHECK(stopping.init(stop_after) == TM_OK);
    tm_guard_config every_step{};
    every_step.events = TM_ITERATION_COMPLETED;
    CHECK(loss_guard.init(every_step) == TM_OK && weight_guard.init(every_step) == TM_OK);
    tm_weight_average_config average_config{};
    average_config.momentum = 0.5f;
    average_config.events = TM_EPOCH_COMPLETED;
    CHECK(average.init(average_config) == TM_OK);
    tm_running_average_config running{};
    running.alpha = 0.5f;
    running.events = TM_ITERATION_COMPLETED;
    CHECK(loss_average.init(running) == TM_OK);
    CHECK(limits.init(tm_score_limits_config{}) == TM_OK);
    tm_plateau_config reduce{};
    reduce.value = 1.0f;
    reduce.factor = 0.5f;
    reduce.events = TM_EPOCH_COMPLETED;
    CHECK(plateau.init(reduce) == TM_OK);
    tm_timer_config timed{};
    timed.clock = monitor::clock(now);
    timed.start = TM_STARTED;
    timed.step = TM_ITERATION_COMPLETED;
    CHECK(timer.init(timed, 0) == TM_OK);
    tm_time_limit_config limit{};
    limit.clock = monitor::clock(now);
    limit.limit = 1000000;
    limit.events = TM_ITERATION_COMPLETED;
    CHECK(time_limit.init(limit) == TM_OK);
    CHECK(callback.init(count, TM_EPOCH_COMPLETED) == TM_OK);
    tm_checkpoint_config keep{};
    keep.n_saved = 2;
    keep.interval = 1;
    keep.events = TM_EPOCH_COMPLETED;
    const tm_status opened = latest.open(keep, place);
    if (opened != TM_OK) return opened;
    CHECK(engine.attach(stopping, loss_guard, weight_guard, average, loss_average, limits, plateau, timer, time_limit) == TM_OK);
    CHECK(engine.attach(callback, latest) == TM_ERROR_HANDLERS);  // TM_MAX_HANDLERS is 10
    CHECK(engine.init(config) == TM_OK);
    CHECK(engine.attach(stopping, loss_guard, weight_guard, average, loss_average, plateau, timer, callback, latest) == TM_OK);

    tm_resumed resumed{};
    const tm_status status = engine.resume(resumed);
    CHECK(status == TM_OK || status == TM_NONE);
    tm_status next;
    while (steps-- > 0 && (next = engine.begin_iteration()) == TM_OK) {
        CHECK(engine.offset() == (engine.iteration() - 1) % 4 && engine.epoch() == (engine.iteration() + 3) / 4);
        for (auto &row : network.matrix)
            for (float &weight : row) weight += 0.5f;
        network.bias[engine.iteration() % 2] -= 0.25f;
        if (engine.is_last_in_epoch()) engine.set_metric(0, network.bias[0]);
        engine.end_iteration(network.matrix[0][0]);
    }
    if (engine.outcome(outcome) != TM_OK) return TM_OK;
    CHECK(engine.begin_iteration() == TM_STOP && timer.steps() == 20 && events > 0);
    tm_decision newest{};
    CHECK(latest.latest(newest) == TM_OK && newest.step == 5 && latest.last_error() == TM_OK && latest.erases(0) > 0);
    float mean = 0;
    CHECK(loss_average.value(mean) == TM_OK && mean > 0);
    return TM_STOP;
}

template <class Place> static void test_run(Chip &chip, const Place &place) {
    Network whole, resumed;
    tm_outcome outcome{};
    CHECK(train(whole, place, 100, outcome) == TM_STOP);
    CHECK(outcome.reason == TM_REASON_MAX_EPOCHS && outcome.iteration == 20);
    CHECK(whole.matrix[1][2] == 10.0f && whole.average[1][2] < 10.0f && whole.average[1][2] > 5.0f);
    // The run starts over, is interrupted, and resumes with the same result.
    std::memset(chip.bytes, 0xa5, sizeof chip.bytes);
    Network lost;
    CHECK(train(lost, place, 10, outcome) == TM_OK);
    CHECK(train(resumed, place, 100, outcome) == TM_STOP);
    CHECK(std::memcmp(&whole, &resumed, sizeof whole) == 0);
    {
        monitor::SwappedWeights swapped(resumed.average[0], resumed.matrix[0], 6);
        CHECK(swapped.status() == TM_OK && resumed.matrix[1][2] == whole.average[1][2]);
    }
    CHECK(std::memcmp(&whole, &resumed, sizeof whole) == 0);
    monitor::SwappedWeights refused(nullptr, resumed.matrix[0], 6);
    CHECK(refused.status() == TM_ERROR_NULL);
}

static void test_without_engine(Chip &chip, const tm_flash &flash) {
    Network network;
    const tm_tensor weights[] = {tensor("matrix", network.matrix)};
    const tm_object objects[] = {monitor::object("model", weights)};
    const tm_model model = monitor::model(objects);
    tm_checkpoint_config keep{};
    keep.n_saved = 1;
    monitor::Checkpoint best;
    tm_loaded loaded{};
    tm_decision decision{}, evicted{};
    CHECK(best.save(model, 1, 1.0f, 1) == TM_ERROR_NOT_INITIALIZED);
    CHECK(tm_checkpoint_erase_flash(&flash) == TM_OK && best.open(keep, flash) == TM_OK);
    CHECK(best.load_best(model, loaded) == TM_NONE && best.save(model, 3, 1.0f, 30) == TM_OK);
    network.matrix[0][0] = 9.0f;
    chip.fail_at = chip.writes + 2;
    CHECK(best.erase_ahead(500) == TM_STOP || chip.fail_at > 0);
    CHECK(best.save(model, 4, 2.0f, 40) == TM_OK && best.best(decision) == TM_OK && decision.step == 4);  // the retry
    CHECK(best.load_step(model, 4, loaded) == TM_OK && best.load_best(model, loaded) == TM_OK && loaded.iteration == 40);
    CHECK(best.kept(0, decision) == TM_OK && best.kept(1, decision) == TM_NONE && best.erase_all() == TM_OK);
    chip.fail_at = 0;

    std::uint8_t state[TM_MAX_STATE];
    std::size_t len = 0;
    monitor::EarlyStopping stopping;
    tm_early_stopping_config config{};
    config.patience = 2;
    float score = 0;
    CHECK(stopping.update(1.0f) == TM_ERROR_NOT_INITIALIZED && stopping.init(config) == TM_OK);
    CHECK(stopping.update(1.0f) == TM_OK && stopping.update(0.5f) == TM_OK && stopping.counter() == 1);
    CHECK(stopping.save(state, sizeof state, len) == TM_OK && stopping.reset() == TM_OK && stopping.counter() == 0);
    CHECK(stopping.load(state, len) == TM_OK && stopping.best(score) == TM_OK && score == 1.0f);
    CHECK(stopping.update(0.5f) == TM_STOP);

    monitor::Policy policy;
    CHECK(policy.init(keep) == TM_OK && policy.update(1.0f, decision) == TM_OK && policy.commit(decision, evicted) == TM_NONE);
    CHECK(policy.update(2.0f, decision) == TM_OK && policy.commit(decision, evicted) == TM_OK && evicted.step == 1);
    CHECK(policy.best(decision) == TM_OK && policy.latest(decision) == TM_OK && decision.step == 2);
    CHECK(policy.kept(0, decision) == TM_OK && policy.restore(tm_decision{9, 3.0f}, evicted) == TM_OK && evicted.step == 2);

    const float values[] = {1.0f, NAN};
    monitor::NanGuard guard;
    CHECK(guard.init(tm_guard_config{}) == TM_OK && guard.update(values, 1) == TM_OK && guard.update(values, 2) == TM_STOP);
    monitor::ScoreLimits limits;
    std::uint32_t reason = 0;
    CHECK(limits.init(tm_score_limits_config{}) == TM_OK && limits.update(1.0f, reason) == TM_NONE);
    CHECK(limits.update(values[1], reason) == TM_OK && reason == TM_REASON_NON_FINITE);
    monitor::TimeLimit limit;
    tm_time_limit_config ticks{};
    ticks.limit = 10;
    CHECK(limit.init(ticks) == TM_OK && limit.start(5) == TM_OK && limit.update(7) == TM_OK && limit.elapsed() == 2);
    CHECK(limit.update(16) == TM_STOP);
    monitor::Timer timer;
    CHECK(timer.init(tm_timer_config{}, 1) == TM_OK && timer.step() == TM_OK && timer.pause(5) == TM_OK && timer.total() == 4);
    CHECK(timer.resume(6) == TM_OK && timer.value(8) == 6 && timer.reset(8) == TM_OK && timer.steps() == 0);
    monitor::Engine engine;
    tm_engine_config run{};
    run.max_epochs = 3;
    run.model = model;
    tm_outcome outcome{};
    CHECK(engine.init(run) == TM_OK && engine.begin_iteration() == TM_OK && engine.end_iteration(0) == TM_OK);
    CHECK(engine.end_data() == TM_OK && engine.begin_iteration() == TM_OK && engine.terminate_epoch() == TM_OK);
    CHECK(engine.end_iteration(0) == TM_OK && engine.set_max_epochs(9) == TM_OK && engine.interrupt() == TM_OK);
    CHECK(engine.begin_iteration() == TM_STOP && engine.begin_iteration() == TM_OK && engine.terminate(4) == TM_OK);
    CHECK(engine.end_iteration(0) == TM_STOP && engine.outcome(outcome) == TM_OK && outcome.reason == TM_REASON_USER + 4);
    CHECK(engine.restart() == TM_OK);
}

int main() {
    static Chip chip;
    std::memset(chip.bytes, 0xa5, sizeof chip.bytes);
    const tm_flash flash = monitor::flash(chip, {0, 3 * 1024, 3, 1024, 8});
    const tm_memory memory = monitor::memory(chip, {0, 3 * 1024, 3, 64});
    test_descriptions();
    test_run(chip, flash);
    std::memset(chip.bytes, 0xa5, sizeof chip.bytes);
    test_run(chip, memory);
    test_without_engine(chip, flash);
    puts("the C++ layer: passed");
}
