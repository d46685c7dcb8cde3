#!/usr/bin/env python3
"""Inference of a dense network with ReLU, batch normalization folded away, in one of Lamina's peers.

usage: inference.py onnxruntime|torch THREADS WIDTHS BATCH…        for instance: inference.py torch 2 784-128-64-10 1 32

Answers with {"BATCH": microseconds of a call, …}; the call from Python is part of it.
"""

import sys

from serve import median_time, pin, serve

peer, threads = sys.argv[1], int(sys.argv[2])
WIDTHS = [int(width) for width in sys.argv[3].split("-")]
batches = [int(batch) for batch in sys.argv[4:]]
pin(threads)

import numpy as np

random = np.random.default_rng(0)
kernels = [
    (random.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32) for shape in zip(WIDTHS, WIDTHS[1:])
]
inputs = {batch: random.random((batch, WIDTHS[0]), dtype=np.float32) for batch in batches}


def onnxruntime_calls():
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, tensors, value = [], [], "images"
    for index, kernel in enumerate(kernels):
        tensors.append(numpy_helper.from_array(kernel, f"kernel{index}"))
        tensors.append(numpy_helper.from_array(np.zeros(kernel.shape[1], np.float32), f"bias{index}"))
        nodes.append(helper.make_node("Gemm", [value, f"kernel{index}", f"bias{index}"], [f"sum{index}"]))
        value = f"sum{index}"
        if index < len(kernels) - 1:
            nodes.append(helper.make_node("Relu", [value], [f"hidden{index}"]))
            value = f"hidden{index}"
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", WIDTHS[0]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", WIDTHS[-1]])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {"onnxruntime": onnxruntime.__version__}, lambda x: lambda: session.run(None, {"images": x})


def torch_calls():
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    modules = []
    for index, (rows, columns) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        modules.append(nn.Linear(rows, columns))
        modules[-1].weight.copy_(torch.from_numpy(kernels[index].T))
        modules.append(nn.ReLU())
    model = nn.Sequential(*modules[:-1]).eval()

    def call(x):
        tensor = torch.from_numpy(x)
        return lambda: model(tensor)

    return {"torch": torch.__version__}, call


versions, call = {"onnxruntime": onnxruntime_calls, "torch": torch_calls}[peer]()
calls = {str(batch): call(x) for batch, x in inputs.items()}
serve(versions, lambda seconds: {batch: median_time(work, seconds / len(calls)) for batch, work in calls.items()})
