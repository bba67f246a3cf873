"""Trains one step of a 64-32-10 network in numpy, on weights from a device, for the way back to it.

    python train_step.py weights.safetensors trained.safetensors

A batch of made-up images does: what matters is that the device goes on from the very weights that come out.
Prints the sum of the bits of all weights, modulo 2^64.
"""

import sys

import numpy
import safetensors
import safetensors.numpy


def step(model, images, labels, rate):
    """Plain gradient descent on the cross-entropy of a network with one hidden layer of ReLUs."""
    hidden = images @ model["model.fc1.weight"].T + model["model.fc1.bias"]
    active = numpy.maximum(hidden, 0)
    logits = active @ model["model.fc2.weight"].T + model["model.fc2.bias"]
    shifted = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    slope = shifted / shifted.sum(axis=1, keepdims=True)
    slope[numpy.arange(len(labels)), labels] -= 1
    slope /= len(labels)
    below = (slope @ model["model.fc2.weight"]) * (hidden > 0)
    gradients = {
        "model.fc1.weight": below.T @ images,
        "model.fc1.bias": below.sum(axis=0),
        "model.fc2.weight": slope.T @ active,
        "model.fc2.bias": slope.sum(axis=0),
    }
    for name, gradient in gradients.items():
        model[name] = (model[name] - rate * gradient).astype(numpy.float32)


def main(source, target):
    arrays = safetensors.numpy.load_file(source)
    with safetensors.safe_open(source, framework="numpy") as f:
        note = f.metadata()
    random = numpy.random.default_rng(1)
    images = random.random((16, 64), dtype=numpy.float32)
    step(arrays, images, random.integers(0, 10, 16), numpy.float32(0.05))
    # The note lets the device go on with the run, not only with the weights.
    safetensors.numpy.save_file(arrays, target, metadata=note)
    weights = [arrays["model." + name] for name in ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]]
    print(sum(int(array.view(numpy.uint32).astype(numpy.uint64).sum()) for array in weights) % 2**64)


if __name__ == "__main__":
    main(*sys.argv[1:])
