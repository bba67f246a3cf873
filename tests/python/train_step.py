"""Trains a 64-32-10 network for one step in numpy. The input and the output are exchanged with a device.

    python train_step.py weights.safetensors trained.safetensors

The images are random, because the test checks only that the device resumes from exactly these weights. The program prints
the sum of the bits of all weights, modulo 2^64.
"""

import sys

import numpy
import safetensors
import safetensors.numpy


def step(model, images, labels, rate):
    """Makes one step of gradient descent on the cross-entropy of a network with one hidden layer of ReLUs."""
    hidden = images @ model["model.fc1.weight"].T + model["model.fc1.bias"]
    active = numpy.maximum(hidden, 0)
    logits = active @ model["model.fc2.weight"].T + model["model.fc2.bias"]
    shifted = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    gradient_logits = shifted / shifted.sum(axis=1, keepdims=True)
    gradient_logits[numpy.arange(len(labels)), labels] -= 1
    gradient_logits /= len(labels)
    gradient_hidden = (gradient_logits @ model["model.fc2.weight"]) * (hidden > 0)
    gradients = {
        "model.fc1.weight": gradient_hidden.T @ images,
        "model.fc1.bias": gradient_hidden.sum(axis=0),
        "model.fc2.weight": gradient_logits.T @ active,
        "model.fc2.bias": gradient_logits.sum(axis=0),
    }
    for name, gradient in gradients.items():
        model[name] = (model[name] - rate * gradient).astype(numpy.float32)


def main(source, target):
    arrays = safetensors.numpy.load_file(source)
    with safetensors.safe_open(source, framework="numpy") as f:
        metadata = f.metadata()
    random = numpy.random.default_rng(1)
    images = random.random((16, 64), dtype=numpy.float32)
    step(arrays, images, random.integers(0, 10, 16), numpy.float32(0.05))
    # With the metadata the device resumes the run, and not only the weights.
    safetensors.numpy.save_file(arrays, target, metadata=metadata)
    weights = [arrays["model." + name] for name in ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]]
    print(sum(int(array.view(numpy.uint32).astype(numpy.uint64).sum()) for array in weights) % 2**64)


if __name__ == "__main__":
    main(*sys.argv[1:])
