/* The handwritten digits and a network that learns them: the same arithmetic as src/mlp.rs, src/train.rs and src/random.rs.
 *
 * Every result has the same bits as in Rust, on each board: the code uses only + - * / and comparisons in the same order,
 * and is compiled with -ffp-contract=off, so that no compiler joins a multiplication and an addition. */
#ifndef DIGITS_H
#define DIGITS_H

#include <stdint.h>

enum { PIXELS = 64, HIDDEN = 10, CLASSES = 10, BATCH = 16 };
enum { TRAIN_IMAGES = 1200, VALIDATION_IMAGES = 237, TEST_IMAGES = 360 };
enum { BATCHES = TRAIN_IMAGES / BATCH };

/* One number per weight: the weights, their gradients, or the velocities of the optimizer. The struct has no padding, so
 * it is also one block of PARAMETERS numbers. */
typedef struct {
    float w1[HIDDEN][PIXELS], b1[HIDDEN];
    float w2[CLASSES][HIDDEN], b2[CLASSES];
} parameters;

enum { PARAMETERS = sizeof(parameters) / sizeof(float) };

/* Loss in nats, and the number of correctly classified images. */
typedef struct {
    float loss;
    uint32_t correct;
} metrics;

typedef enum { TEST, VALIDATION } split;

/* Draws the initial weights. The biases are 0. */
void network_init(parameters *net, uint32_t seed);

/* Computes the gradient of the images of one batch. Returns the mean loss. */
float network_gradient(const parameters *net, parameters *gradient, uint32_t seed, uint32_t epoch, uint32_t offset);

/* Computes the mean loss over one part of the data. */
metrics network_evaluate(const parameters *net, split part);

/* The functions of the C library, with the same bits on each board. */
float digits_exp(float x);
float digits_log(float x);

#endif
