/* A model with one object, which has one tensor. */
#ifndef MODEL_H
#define MODEL_H
#include <string.h>
#include "training_monitor.h"

static void model_init(tm_model *model, tm_object *object, tm_tensor *tensor, const char *name, float *data,
                       uint32_t count) {
    memset(tensor, 0, sizeof *tensor);
    memset(object, 0, sizeof *object);
    tensor->name = name;
    tensor->data = data;
    tensor->shape[0] = count;
    tensor->rank = 1;
    tensor->kind = TM_F32;
    object->name = "model";
    object->tensors = tensor;
    object->tensor_count = 1;
    model->objects = object;
    model->object_count = 1;
}

#endif
