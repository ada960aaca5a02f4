#!/usr/bin/env python3
"""Three passes: one by rows, one that splits tensors, one over groups of tensors.

    resq passes --plugin Examples/python-pass/example.py
"""
import numpy as np

from resq_pass import Plugin, Same, Step, Tensor, option

plugin = Plugin("example", version="1.0")


@plugin.rows(options=[option("factor", "number", "What weights are multiplied by.", default=2.0)])
def scale(x, factor):
    """Multiplies every weight by a factor."""
    return x * np.float32(factor)


def halves(tensors, model):
    for tensor in tensors:
        rows, *rest = tensor.shape
        outputs = [Tensor(f"{tensor.name}.{i}", "F32", [rows // 2 + rows % 2 * i, *rest]) for i in range(2)]
        yield Step([tensor.name], outputs, decoded=True, note="cut into two")


@plugin.steps(halves)
def cut(inputs, outputs):
    """Cuts tensors into an upper and a lower half."""
    (x,) = inputs.values()
    upper, lower = outputs
    return {upper.name: x[:upper.shape[0]], lower.name: x[upper.shape[0]:]}


def pairs(tensors, model):
    layers = {}
    for tensor in tensors:
        if tensor.role in ("gate", "up"):
            layers.setdefault(tensor.layer, {})[tensor.role] = tensor
    for layer in layers.values():
        gate, up = layer["gate"], layer["up"]
        yield Step([gate.name, up.name], [Same(gate.name, of=gate.name), Tensor(up.name, "BF16", up.shape)], decoded=True)


@plugin.steps(pairs)
def balance(inputs, outputs):
    """Gives every row of 'up' the mean square of the row of 'gate' that it is multiplied with."""
    (up,) = outputs
    (gate,) = (x for name, x in inputs.items() if name != up.name)
    mean = lambda x: np.sqrt((x * x).mean(axis=1, keepdims=True))
    return {up.name: inputs[up.name] * mean(gate) / mean(inputs[up.name])}


if __name__ == "__main__":
    plugin.run()
