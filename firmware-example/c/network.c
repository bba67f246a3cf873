/* The data, the random numbers and the network of digits.h. */
#include "digits.h"

/* ------------------------------------------------------------------------------------------------- random numbers */

/* The generator PCG-XSH-RR 64/32. */
static uint32_t pcg32(uint64_t *state) {
    uint64_t old = *state;
    *state = old * 6364136223846793005u + (54 << 1 | 1);
    uint32_t shifted = (uint32_t)(((old >> 18) ^ old) >> 27), turns = (uint32_t)(old >> 59);
    return shifted >> turns | shifted << (-turns & 31);
}

/* The next number from a uniform distribution over -bound to bound. */
static float symmetric(uint64_t *state, float bound) {
    float steps = (float)(pcg32(state) >> 8);
    return (steps * (1.0f / 8388608.0f) - 1.0f) * bound;
}

/* The finalizer of MurmurHash3. */
static uint32_t mix(uint32_t value) {
    value ^= value >> 16;
    value *= 0x85ebca6bu;
    value ^= value >> 13;
    value *= 0xc2b2ae35u;
    return value ^ (value >> 16);
}

/* A permutation of 0 to len - 1 that is computed instead of stored: a Feistel network of four rounds. */
typedef struct {
    uint32_t len, half, keys[4];
} permutation;

static permutation permutation_new(uint32_t len, uint32_t seed, uint32_t epoch) {
    uint32_t bits = 0;
    while ((len - 1) >> bits != 0) bits++;
    uint32_t base = mix(mix(seed ^ 0x9e3779b9u) ^ epoch);
    return (permutation){len, (bits + 1) / 2,
                         {mix(base ^ 0x243f6a88u), mix(base ^ 0x85a308d3u), mix(base ^ 0x13198a2eu), mix(base ^ 0x03707344u)}};
}

static uint32_t permutation_at(const permutation *order, uint32_t index) {
    uint32_t mask = (1u << order->half) - 1;
    do {
        uint32_t left = index >> order->half, right = index & mask;
        for (int round = 0; round < 4; round++) {
            uint32_t next = left ^ (mix(right ^ order->keys[round]) & mask);
            left = right;
            right = next;
        }
        index = left << order->half | right;
    } while (index >= order->len);
    return index;
}

/* ----------------------------------------------------------------------------------------------------------- data */

enum { IMAGES = TRAIN_IMAGES + VALIDATION_IMAGES + TEST_IMAGES };

/* The file digits.bin: one byte per pixel, then the label. */
typedef struct {
    uint8_t pixels[PIXELS], label;
} image;

extern const image digits[IMAGES];

/* The image at a position of the permuted data. First are the test images, then the validation and training images. */
static const image *image_at(uint32_t position) {
    permutation order = permutation_new(IMAGES, 0, 0);
    return &digits[permutation_at(&order, position)];
}

static void input(const image *source, float x[PIXELS]) {
    for (int i = 0; i < PIXELS; i++) x[i] = (float)source->pixels[i] * (1.0f / 16.0f) - 0.5f;
}

/* -------------------------------------------------------------------------------------------------------- network */

void network_init(parameters *net, uint32_t seed) {
    uint64_t state = 0;
    pcg32(&state);
    state += seed;
    pcg32(&state);
    *net = (parameters){0};
    /* The compiler computes the square roots, which are correctly rounded. */
    for (int i = 0; i < HIDDEN; i++) {
        for (int j = 0; j < PIXELS; j++) net->w1[i][j] = symmetric(&state, __builtin_sqrtf(6.0f / PIXELS));
    }
    for (int i = 0; i < CLASSES; i++) {
        for (int j = 0; j < HIDDEN; j++) net->w2[i][j] = symmetric(&state, __builtin_sqrtf(6.0f / HIDDEN));
    }
}

static float affine(const float *row, const float *x, int count, float bias) {
    for (int i = 0; i < count; i++) bias += row[i] * x[i];
    return bias;
}

static void add_scaled(float *sums, const float *values, int count, float scale) {
    for (int i = 0; i < count; i++) sums[i] += scale * values[i];
}

static void forward(const parameters *net, const float *x, float *hidden, float *logits) {
    for (int i = 0; i < HIDDEN; i++) {
        float sum = affine(net->w1[i], x, PIXELS, net->b1[i]);
        hidden[i] = sum < 0.0f ? 0.0f : sum;
    }
    for (int i = 0; i < CLASSES; i++) logits[i] = affine(net->w2[i], hidden, HIDDEN, net->b2[i]);
}

/* Writes the gradient of the cross-entropy with respect to the logits to `slopes`. Returns the cross-entropy. */
static float softmax(const float *logits, uint8_t label, float *slopes) {
    float largest = -__builtin_inff(), sum = 0.0f;
    for (int i = 0; i < CLASSES; i++) largest = logits[i] > largest ? logits[i] : largest;
    for (int i = 0; i < CLASSES; i++) {
        slopes[i] = digits_exp(logits[i] - largest);
        sum += slopes[i];
    }
    for (int i = 0; i < CLASSES; i++) slopes[i] /= sum;
    slopes[label] -= 1.0f;
    return digits_log(sum) - (logits[label] - largest);
}

static float accumulate(const parameters *net, parameters *gradient, const image *source) {
    float x[PIXELS], hidden[HIDDEN], logits[CLASSES], slopes[CLASSES], hidden_slopes[HIDDEN] = {0};
    input(source, x);
    forward(net, x, hidden, logits);
    float loss = softmax(logits, source->label, slopes);
    for (int i = 0; i < CLASSES; i++) {
        gradient->b2[i] += slopes[i];
        add_scaled(gradient->w2[i], hidden, HIDDEN, slopes[i]);
        add_scaled(hidden_slopes, net->w2[i], HIDDEN, slopes[i]);
    }
    for (int i = 0; i < HIDDEN; i++) {
        if (hidden[i] <= 0.0f) continue;
        gradient->b1[i] += hidden_slopes[i];
        add_scaled(gradient->w1[i], x, PIXELS, hidden_slopes[i]);
    }
    return loss;
}

float network_gradient(const parameters *net, parameters *gradient, uint32_t seed, uint32_t epoch, uint32_t offset) {
    permutation order = permutation_new(TRAIN_IMAGES, seed, epoch);
    float loss = 0.0f;
    *gradient = (parameters){0};
    for (uint32_t i = 0; i < BATCH; i++) {
        uint32_t index = permutation_at(&order, offset * BATCH + i);
        loss += accumulate(net, gradient, image_at(TEST_IMAGES + VALIDATION_IMAGES + index));
    }
    return loss / (float)BATCH;
}

metrics network_evaluate(const parameters *net, split part) {
    uint32_t first = part == TEST ? 0 : TEST_IMAGES, count = part == TEST ? TEST_IMAGES : VALIDATION_IMAGES;
    metrics result = {0.0f, 0};
    for (uint32_t i = 0; i < count; i++) {
        const image *source = image_at(first + i);
        float x[PIXELS], hidden[HIDDEN], logits[CLASSES], slopes[CLASSES];
        input(source, x);
        forward(net, x, hidden, logits);
        result.loss += softmax(logits, source->label, slopes);
        int best = 0;
        for (int class = 1; class < CLASSES; class++) best = logits[class] > logits[best] ? class : best;
        result.correct += best == source->label;
    }
    result.loss /= (float)count;
    return result;
}
