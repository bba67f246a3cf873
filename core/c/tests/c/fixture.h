/* A model of eight weights, and an empty flash for its best two checkpoints. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "flash.h"
#include "model.h"

static float weights[8];
static tm_tensor tensor;
static tm_object object;
static tm_model model;
static chip c;
static tm_flash flash;
static tm_checkpoint_config best_config;

static void reset(void) {
    model_init(&model, &object, &tensor, "weights", weights, 8);
    memset(&best_config, 0, sizeof best_config);
    memset(weights, 0, sizeof weights);
    best_config.n_saved = 2;
    chip_init(&c, &flash);
}

#endif
