"""gguf-py reads GGUF files and decodes every tensor: read_gguf.py FILE... [--equal-to REFERENCE]

With --equal-to every tensor of every FILE must have the name, type, shape and bytes that it has in REFERENCE.
"""

import sys

import numpy
from gguf import GGUFReader
from gguf.quants import dequantize


def main():
    files = sys.argv[1:]
    reference = None
    if "--equal-to" in files:
        at = files.index("--equal-to")
        reference = {tensor.name: tensor for tensor in GGUFReader(files[at + 1]).tensors}
        del files[at:at + 2]
    for path in files:
        reader = GGUFReader(path)
        if not reader.tensors:
            raise SystemExit(f"{path}: no tensors")
        for tensor in reader.tensors:
            if not numpy.isfinite(dequantize(tensor.data, tensor.tensor_type)).all():
                raise SystemExit(f"{path}: {tensor.name} has values that are not finite")
        if reference is not None:
            compare(path, {tensor.name: tensor for tensor in reader.tensors}, reference)
        print(f"{len(reader.tensors)} tensors, {len(reader.fields)} keys")


def compare(path, tensors, reference):
    if tensors.keys() != reference.keys():
        raise SystemExit(f"{path}: tensors differ: {sorted(tensors.keys() ^ reference.keys())}")
    for name, tensor in tensors.items():
        other = reference[name]
        if tensor.tensor_type != other.tensor_type or list(tensor.shape) != list(other.shape):
            raise SystemExit(f"{path}: {name} is {tensor.tensor_type.name} {list(tensor.shape)}, "
                             f"the reference has {other.tensor_type.name} {list(other.shape)}")
        if tensor.data.tobytes() != other.data.tobytes():
            raise SystemExit(f"{path}: {name} has other bytes than the reference")


if __name__ == "__main__":
    main()
