#!/usr/bin/env python3
"""Training of a dense classifier in one of Lamina's peers, for scripts/compare-peers.

usage: training.py jax|torch|keras-jax|keras-tensorflow THREADS WIDTHS ACTIVATION NORMALIZATION OPTIMIZER BATCH

WIDTHS such as 784,128,64,10; ACTIVATION relu or sigmoid; NORMALIZATION after or before the activation, or none;
OPTIMIZER adam or sgd. A step gathers a shuffled batch from 60,000 rows, computes loss and gradients and updates.
Answers with {"us": microseconds of a step}.
"""

import os
import sys
import time

from serve import pin, serve

peer, threads = sys.argv[1], int(sys.argv[2])
widths = [int(width) for width in sys.argv[3].split(",")]
activation, normalization, optimizer, batch = sys.argv[4], sys.argv[5], sys.argv[6], int(sys.argv[7])
pin(threads)
if peer.startswith("keras-"):
    os.environ["KERAS_BACKEND"] = peer.removeprefix("keras-")

import numpy as np

ROWS = 60_000
EPSILON, MOMENTUM = 1e-3, 0.99
random = np.random.default_rng(0)
images = random.random((ROWS, widths[0]), dtype=np.float32)
labels = random.integers(0, widths[-1], ROWS).astype(np.int32)


def median_of_pieces(piece, seconds):
    """The median over pieces; `piece()` returns how many steps it did."""
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        steps = piece()
        times.append((time.perf_counter() - started) / steps)
    return {"us": sorted(times)[len(times) // 2] * 1e6}


class Order:
    """Batches of indices; a new permutation when one is used up."""

    def __init__(self):
        self.order, self.next = random.permutation(ROWS), 0

    def take(self, count):
        if self.next + count > ROWS:
            self.order, self.next = random.permutation(ROWS), 0
        self.next += count
        return self.order[self.next - count : self.next]


def jax_piece():
    """The fastest form that a user of JAX would write: many steps in one compiled scan."""
    import jax
    import jax.numpy as jnp

    hidden = len(widths) - 2
    function = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}[activation]
    layers = []
    keys = jax.random.split(jax.random.PRNGKey(0), len(widths))
    for index, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        limit = (6 / (inputs + outputs)) ** 0.5
        layer = {"kernel": jax.random.uniform(keys[index], (inputs, outputs), minval=-limit, maxval=limit)}
        if normalization != "before" or index == hidden:
            layer["bias"] = jnp.zeros(outputs)
        if normalization != "none" and index < hidden:
            layer["gamma"], layer["beta"] = jnp.ones(outputs), jnp.zeros(outputs)
        layers.append(layer)
    moving = [(jnp.zeros(width), jnp.ones(width)) for width in widths[1:-1]]

    def normalize(x, layer, averages):
        mean = jnp.mean(x, axis=0)
        centred = x - mean
        variance = jnp.mean(jnp.square(centred), axis=0)
        y = centred * (jax.lax.rsqrt(variance + EPSILON) * layer["gamma"]) + layer["beta"]
        updated = tuple(MOMENTUM * old + (1 - MOMENTUM) * new for old, new in zip(averages, (mean, variance)))
        return y, updated

    def loss(layers, moving, x, target):
        updated = []
        for layer, averages in zip(layers, moving):
            x = x @ layer["kernel"]
            if "bias" in layer:
                x = x + layer["bias"]
            if normalization == "before":
                x, averages = normalize(x, layer, averages)
            x = function(x)
            if normalization == "after":
                x, averages = normalize(x, layer, averages)
            updated.append(averages)
        logits = x @ layers[-1]["kernel"] + layers[-1]["bias"]
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], axis=1)
        return -jnp.mean(picked), updated

    def update(layers, first, second, gradients, count):
        if optimizer == "sgd":
            return jax.tree.map(lambda w, g: w - 0.01 * g, layers, gradients), first, second
        first = jax.tree.map(lambda m, g: m + 0.1 * (g - m), first, gradients)
        second = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), second, gradients)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        layers = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), layers, first, second)
        return layers, first, second

    all_images, all_labels = jnp.asarray(images), jnp.asarray(labels)

    def step(state, indices):
        layers, moving, first, second, count = state
        count = count + 1
        (value, moving), gradients = jax.value_and_grad(loss, has_aux=True)(
            layers, moving, all_images[indices], all_labels[indices]
        )
        layers, first, second = update(layers, first, second, gradients, count)
        return (layers, moving, first, second, count), value

    run = jax.jit(lambda state, indices: jax.lax.scan(step, state, indices), donate_argnums=0)
    zeros = lambda: jax.tree.map(jnp.zeros_like, layers)
    state = (layers, moving, zeros(), zeros(), jnp.float32(0))
    steps = max(1, min(200, ROWS // (4 * batch)))
    order = Order()

    def piece():
        nonlocal state
        indices = order.take(steps * batch).reshape(steps, batch).astype(np.int32)
        state, losses = run(state, jnp.asarray(indices))
        losses.block_until_ready()
        return steps

    return {"jax": jax.__version__}, piece


def torch_piece():
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    function = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[activation]
    modules = []
    for inputs, outputs in zip(widths, widths[1:-1]):
        modules.append(nn.Linear(inputs, outputs, bias=normalization != "before"))
        batch_norm = nn.BatchNorm1d(outputs, eps=EPSILON, momentum=1 - MOMENTUM)
        modules += {
            "after": [function(), batch_norm],
            "before": [batch_norm, function()],
            "none": [function()],
        }[normalization]
    model = nn.Sequential(*modules, nn.Linear(widths[-2], widths[-1]))
    if optimizer == "adam":
        rule = torch.optim.Adam(model.parameters(), fused=True)
    else:
        rule = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)
    criterion = nn.CrossEntropyLoss()
    all_images, all_labels = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    order = Order()

    def piece():
        for _ in range(20):
            indices = torch.from_numpy(order.take(batch))
            rule.zero_grad(set_to_none=True)
            criterion(model(all_images[indices]), all_labels[indices]).backward()
            rule.step()
        return 20

    return {"torch": torch.__version__}, piece


def keras_piece():
    versions = {}
    if peer == "keras-tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        versions["tensorflow"] = tf.__version__
    import keras
    from keras import layers

    versions["keras"] = keras.__version__
    model = keras.Sequential([keras.Input((widths[0],))])
    for width in widths[1:-1]:
        if normalization == "before":
            for layer in (layers.Dense(width, use_bias=False), layers.BatchNormalization()):
                model.add(layer)
            model.add(layers.Activation(activation))
        else:
            model.add(layers.Dense(width, activation=activation))
            if normalization == "after":
                model.add(layers.BatchNormalization())
    model.add(layers.Dense(widths[-1], activation="softmax"))
    rule = keras.optimizers.Adam() if optimizer == "adam" else keras.optimizers.SGD()
    model.compile(optimizer=rule, loss="sparse_categorical_crossentropy")
    # A part of the rows: an epoch of all takes seconds at small batches.
    steps = max(20, 20_000 // batch)
    count = min(ROWS, steps * batch)

    def piece():
        model.fit(images[:count], labels[:count], batch_size=batch, epochs=1, verbose=0)
        return -(-count // batch)

    return versions, piece


pieces = {"jax": jax_piece, "torch": torch_piece, "keras-jax": keras_piece, "keras-tensorflow": keras_piece}
versions, piece = pieces[peer]()
for _ in range(2):
    piece()
serve(versions, lambda seconds: median_of_pieces(piece, seconds))
