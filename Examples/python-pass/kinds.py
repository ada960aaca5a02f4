#!/usr/bin/env python3
"""What a plugin may bring beside passes: ways of rounding, metrics, a block type, a statistic, and a format.

    resq passes --plugin Examples/python-pass/kinds.py
"""
import json

import numpy as np

from resq_pass import File, Plugin, option

plugin = Plugin("kinds", version="1.0")


@plugin.rounding(types=["Q8_0"], values=False)
def q8(x, dtype):
    """Q8_0 with scales that float16 holds exactly what the codes were made with."""
    blocks = x.reshape(-1, 32)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype("<f2")
    inverse = np.divide(1, scale, out=np.zeros_like(scale, dtype="f4"), where=scale > 0, dtype="f4")
    codes = np.clip(np.rint(blocks * inverse), -127, 127).astype("i1")
    return np.concatenate([scale.view("u1").reshape(-1, 2), codes.view("u1")], axis=1)


@plugin.rounding(calibrated=True)
def scaled(x, dtype, moments):
    """Nearest, of columns that a layer hardly uses drawn towards zero."""
    if moments is None:
        return x
    power = np.diag(moments)
    return x * (power / (power + 1e-3 * power.mean())).astype("f4")


@plugin.metric(options=[option("k", "integer", "How many tokens are looked at.", low=1, default=5)])
def among_first(logits, next, k):
    """Whether the token that came is among the k likeliest."""
    own = np.take_along_axis(logits, next[:, None], axis=1)
    return (logits > own).sum(axis=1) < k


@plugin.metric()
def surprise(logits, next):
    """Bits that the token that came was worth."""
    x = logits.astype("f8") - logits.max(axis=1, keepdims=True)
    own = np.take_along_axis(x, next[:, None], axis=1)[:, 0]
    return (np.log(np.exp(x).sum(axis=1)) - own) / np.log(2)


@plugin.metric(reference=True)
def total_variation(logits, reference, next):
    """Half the sum of differences of probabilities."""
    def softmax(x):
        e = np.exp(x.astype("f8") - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return np.abs(softmax(logits) - softmax(reference)).sum(axis=1) / 2


@plugin.type(block=16, bytes=10)
class q4f:
    """Four bits and a float16 scale for 16 weights, from -8 to 7 times the scale."""

    def encode(x):
        largest = np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)
        scale = (largest / -8).astype("<f2")
        inverse = np.divide(1, scale, out=np.zeros_like(scale, dtype="f4"), where=scale != 0, dtype="f4")
        codes = (np.clip(np.rint(x * inverse), -8, 7) + 8).astype("u1")
        return np.concatenate([scale.view("u1"), codes[:, 0::2] | codes[:, 1::2] << 4], axis=1)

    def decode(b):
        scale = np.ascontiguousarray(b[:, :2]).view("<f2").astype("f4")
        codes = np.stack([b[:, 2:] & 15, b[:, 2:] >> 4], axis=2).reshape(len(b), 16)
        return (codes.astype("f4") - 8) * scale


@plugin.statistic(inputs=["mlp", "mlp_output"])
def fourth(x):
    """Sums of fourth powers: with mean squares they tell how heavy the tails of a channel are."""
    return (x.astype("f8") ** 4).sum(axis=0)


@plugin.exporter()
def raw(tensors, model):
    """The bytes of all tensors, one after another, behind a line of JSON that says where each is."""
    places, end = {}, 0
    for tensor in tensors:
        places[tensor.name], end = end, end + tensor.bytes
    index = [{"name": t.name, "dtype": t.dtype, "shape": t.shape, "at": places[t.name]} for t in tensors]
    header = json.dumps({"tensors": index, "provenance": model["provenance"]}).encode() + b"\n"
    yield File(header, {name: len(header) + at for name, at in places.items()}, len(header) + end)


if __name__ == "__main__":
    plugin.run()
