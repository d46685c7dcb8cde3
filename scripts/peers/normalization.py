#!/usr/bin/env python3
"""Batch normalization in training mode with ReLU in one of Lamina's peers, for scripts/compare-peers.

usage: normalization.py jax|torch THREADS ROWSxFEATURES…

Answers with {"ROWSxFEATURES": {"forward": us, "forward+backward": us}, …}.
"""

import sys

from serve import median_time, pin, serve

peer, threads = sys.argv[1], int(sys.argv[2])
shapes = [tuple(int(size) for size in shape.split("x")) for shape in sys.argv[3:]]
pin(threads)


def torch_works():
    import torch
    import torch.nn.functional as functional

    torch.set_num_threads(threads)

    def works(rows, features):
        x = torch.randn(rows, features, requires_grad=True)
        gamma, beta = torch.ones(features, requires_grad=True), torch.zeros(features, requires_grad=True)
        mean, variance = torch.zeros(features), torch.ones(features)
        dy = torch.randn(rows, features)

        def normalize():
            return functional.batch_norm(x, mean, variance, gamma, beta, training=True, momentum=0.01, eps=1e-3)

        def forward():
            with torch.no_grad():
                functional.relu_(normalize())

        def both():
            x.grad = gamma.grad = beta.grad = None
            functional.relu(normalize()).backward(dy)

        return forward, both

    return {"torch": torch.__version__}, works


def jax_works():
    import jax
    import jax.numpy as jnp

    def normalize(x, gamma, beta):
        mean = jnp.mean(x, axis=0)
        centred = x - mean
        variance = jnp.mean(jnp.square(centred), axis=0)
        return jax.nn.relu(centred * (jax.lax.rsqrt(variance + 1e-3) * gamma) + beta)

    def gradients(x, gamma, beta, dy):
        y, pullback = jax.vjp(normalize, x, gamma, beta)
        return y, pullback(dy)

    forward_compiled, both_compiled = jax.jit(normalize), jax.jit(gradients)

    def works(rows, features):
        keys = jax.random.split(jax.random.PRNGKey(0))
        x, dy = (jax.random.normal(key, (rows, features)) for key in keys)
        gamma, beta = jnp.ones(features), jnp.zeros(features)
        return (
            lambda: jax.block_until_ready(forward_compiled(x, gamma, beta)),
            lambda: jax.block_until_ready(both_compiled(x, gamma, beta, dy)),
        )

    return {"jax": jax.__version__}, works


versions, works = {"jax": jax_works, "torch": torch_works}[peer]()
prepared = {f"{rows}x{features}": works(rows, features) for rows, features in shapes}
for forward, both in prepared.values():
    forward(), both()


def measure(seconds):
    """Each shape and direction gets its share of `seconds`."""
    share = seconds / (2 * len(prepared))
    return {
        shape: {"forward": median_time(forward, share), "forward+backward": median_time(both, share)}
        for shape, (forward, both) in prepared.items()
    }


serve(versions, measure)
