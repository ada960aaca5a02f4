#!/usr/bin/env python3
"""Reads a ResQ artifact (.gguf, or .gguf.zst through the zstd command) with numpy alone, as docs/artifact.md describes it.

    read_resq.py FILE              name, type, shape and SHA-256 of the values, as little-endian float32, of every tensor
    read_resq.py FILE --npz OUT    also writes the values

Written from the document, so that it is a second opinion on what the file says.
"""
import hashlib
import struct
import subprocess
import sys

import numpy as np

# Number of a ggml type: name, elements of a block, bytes of a block.
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 24: ("I8", 1, 1),
    25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 30: ("BF16", 1, 2),
}
PLAIN = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


class Reader:
    """Takes fields of a header one after another."""

    def __init__(self, data):
        self.data, self.offset = data, 0

    def number(self, form):
        value, = struct.unpack_from(form, self.data, self.offset)
        self.offset += struct.calcsize(form)
        return value

    def string(self):
        length = self.number("<Q")
        self.offset += length
        return bytes(self.data[self.offset - length:self.offset]).decode()

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            element, count = self.number("<I"), self.number("<Q")
            return [self.value(element) for _ in range(count)]
        return self.number(SCALARS[kind])


def half(blocks, offset):
    """The F16 number at an offset of every block, as a column."""
    return blocks[:, offset:offset + 2].copy().view("<f2").astype(np.float32)


def nibbles(bytes_):
    """The low halves, then the high halves."""
    return np.concatenate([bytes_ & 15, bytes_ >> 4], axis=-1)


def fifth_bits(blocks, offset):
    """32 bits, lowest first, moved to bit 4."""
    return np.unpackbits(blocks[:, offset:offset + 4], axis=1, bitorder="little") << 4


def k_scales(blocks):
    """The six-bit scales and minimums of Q4_K and Q5_K, each times its block's F16."""
    packed = blocks[:, 4:16]
    low = np.concatenate([packed[:, 0:4] & 63, packed[:, 8:12] & 15 | packed[:, 0:4] >> 6 << 4], axis=1)
    least = np.concatenate([packed[:, 4:8] & 63, packed[:, 8:12] >> 4 | packed[:, 4:8] >> 6 << 4], axis=1)
    return (half(blocks, 0) * low.astype(np.float32))[:, :, None], (half(blocks, 2) * least.astype(np.float32))[:, :, None]


def decode_blocks(name, blocks):
    if name == "Q8_0":
        return half(blocks, 0) * blocks[:, 2:].view("i1").astype(np.float32)
    if name == "Q4_0":
        return (nibbles(blocks[:, 2:]).astype(np.float32) - 8) * half(blocks, 0)
    if name == "Q4_1":
        return nibbles(blocks[:, 4:]).astype(np.float32) * half(blocks, 0) + half(blocks, 2)
    if name == "Q5_0":
        return ((nibbles(blocks[:, 6:]) | fifth_bits(blocks, 2)).astype(np.float32) - 16) * half(blocks, 0)
    if name == "Q5_1":
        return (nibbles(blocks[:, 8:]) | fifth_bits(blocks, 4)).astype(np.float32) * half(blocks, 0) + half(blocks, 2)
    if name in ("Q4_K", "Q5_K"):
        scale, least = k_scales(blocks)
        codes = nibbles(blocks[:, -128:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
        if name == "Q5_K":
            bits = np.unpackbits(blocks[:, 16:48, None], axis=2, bitorder="little")
            codes = codes | bits.transpose(0, 2, 1) << 4
        return scale * codes.astype(np.float32) - least
    if name == "Q6_K":
        low, high = blocks[:, :128].reshape(-1, 2, 2, 32), blocks[:, 128:192].reshape(-1, 2, 1, 32)
        low = np.concatenate([low & 15, low >> 4], axis=2)
        codes = low | (high >> np.array([0, 2, 4, 6], np.uint8)[None, None, :, None] & 3) << 4
        scales = blocks[:, 192:208].view("i1").astype(np.float32).reshape(-1, 16, 1) * half(blocks, 208)[:, :, None]
        return scales * (codes.reshape(-1, 16, 16).astype(np.float32) - 32)
    raise SystemExit(f"no decoder for {name}")


def decode(name, data, shape):
    if name == "BF16":
        return (data.view("<u2").astype(np.uint32) << 16).view("<f4").reshape(shape)
    if name in PLAIN:
        return data.view(PLAIN[name]).astype(np.float32).reshape(shape)
    width = next(size for known, _, size in TYPES.values() if known == name)
    return decode_blocks(name, data.reshape(-1, width)).reshape(shape)


def decode_split(rows, groups, parts, scale_width):
    """Rows of a split tensor: for each run of a part's columns a scale (F16), a zero point (one byte) and codes, lowest bits first."""
    width = sum(part[0] for part in parts)
    values = np.zeros((len(rows), groups, width), np.float32)
    offset = start = 0
    for columns, bits in parts:
        runs = []
        for first in range(0, columns * groups, scale_width or columns * groups):
            count = min(scale_width or columns * groups, columns * groups - first)
            size = (count * bits + 7) // 8
            scale, zero = half(rows, offset), rows[:, offset + 2:offset + 3].astype(np.float32)
            stream = np.unpackbits(rows[:, offset + 3:offset + 3 + size], axis=1, bitorder="little")[:, :count * bits]
            weights = (1 << np.arange(bits)).astype(np.uint16)
            codes = (stream.reshape(len(rows), count, bits) * weights).sum(axis=2).astype(np.float32)
            runs.append(scale * (codes - zero))
            offset += 3 + size
        values[:, :, start:start + columns] = np.concatenate(runs, axis=1).reshape(len(rows), groups, columns)
        start += columns
    if offset != rows.shape[1]:
        raise SystemExit(f"a row of {rows.shape[1]} bytes, whose parts fill {offset}")
    return values.reshape(len(rows), groups * width)


def read(path):
    """Metadata, and the tensors as (name, type, values)."""
    if path.endswith(".zst"):
        data = subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    else:
        with open(path, "rb") as file:
            data = file.read()
    reader = Reader(memoryview(data))
    if reader.number("<I") != 0x46554747 or reader.number("<I") != 3:
        raise SystemExit(f"{path}: not GGUF v3")
    tensor_count, key_count = reader.number("<q"), reader.number("<q")
    metadata = {}
    for _ in range(key_count):
        key = reader.string()
        metadata[key] = reader.value(reader.number("<I"))
    infos = []
    for _ in range(tensor_count):
        name = reader.string()
        shape = [reader.number("<q") for _ in range(reader.number("<I"))][::-1]
        infos.append((name, shape, reader.number("<I"), reader.number("<Q")))
    alignment = metadata.get("general.alignment", 32)
    start = -(-reader.offset // alignment) * alignment
    splits, part = {}, 0
    for index, name in enumerate(metadata.get("resq.split.names", [])):
        count = metadata["resq.split.part_counts"][index]
        parts = [(metadata["resq.split.part_widths"][i], metadata["resq.split.part_bits"][i]) for i in range(part, part + count)]
        scale_width = metadata["resq.split.scale_widths"][index] if "resq.split.scale_widths" in metadata else 0
        splits[name] = metadata["resq.split.groups"][index], parts, scale_width
        part += count
    tensors = []
    for name, shape, kind, offset in infos:
        type_name, block, size = TYPES[kind]
        byte_count = int(np.prod(shape, dtype=np.int64)) // block * size
        raw = np.frombuffer(data, np.uint8, byte_count, start + offset)
        if name in splits:
            groups, parts, scale_width = splits[name]
            values = decode_split(raw.reshape(-1, shape[-1]), groups, parts, scale_width)
            values = values.reshape(*shape[:-1], values.shape[-1])
            type_name = " + ".join(f"int{bits} x {width * groups}" for width, bits in parts) + (f" / {scale_width}" if scale_width else "")
        else:
            values = decode(type_name, raw, shape)
        tensors.append((name, type_name, values))
    return metadata, tensors


def main():
    if len(sys.argv) not in (2, 4):
        raise SystemExit(__doc__)
    _, tensors = read(sys.argv[1])
    for name, type_name, values in tensors:
        digest = hashlib.sha256(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()
        print(name, type_name.replace(" ", ""), "x".join(map(str, values.shape)), digest, sep="\t")
    if len(sys.argv) == 4 and sys.argv[2] == "--npz":
        np.savez(sys.argv[3], **{name: values for name, _, values in tensors})


if __name__ == "__main__":
    main()
