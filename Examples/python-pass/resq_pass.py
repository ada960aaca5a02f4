"""Passes for resq in Python: one file, to be copied beside yours. Needs the standard library, and numpy for arrays.

    import resq_pass

    plugin = resq_pass.Plugin("mine", version="1.0")

    @plugin.rows
    def double(x):
        "Doubles every weight."
        return x * 2

    plugin.run()

A function is one of two kinds:

    @plugin.rows      gets some rows of one tensor as float32 and returns as many rows of the same length
    @plugin.steps     gets whole tensors; a function of its own plans which, and what comes out

docs/plugins.md describes both, and the protocol this file speaks.
"""
import json
import os
import struct
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import List, Optional

try:
    import numpy
except ImportError:  # steps can do without: they get bytes
    numpy = None

PROTOCOL = 1
HEAD = struct.Struct("<4sIQ")
# numpy's names of the types it has.
PLAIN = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4",
    "U16": "<u2", "U8": "u1", "BOOL": "?",
}
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass
class Tensor:
    """A tensor without its data. The shape is outermost first."""

    name: str
    dtype: str
    shape: List[int]
    role: Optional[str] = None
    layer: Optional[int] = None
    bytes: Optional[int] = None


@dataclass
class Same:
    """An output that is an input under another name, or the same; its data is not looked at."""

    name: str
    of: str


@dataclass
class Step:
    """Tensors that go in, by name, and what takes their place: `Tensor` for what is computed, `Same` for what is not."""

    inputs: List[str]
    outputs: list = field(default_factory=list)
    #: Whether the inputs arrive as float32, whatever they are stored as.
    decoded: bool = False
    #: Said in plans and by `resq explain`.
    note: Optional[str] = None
    #: Whether a row of the output needs only that row of the inputs; then the tensor comes in parts.
    rows: bool = False

    def _message(self):
        outputs = [
            {"name": o.name, "from": o.of} if isinstance(o, Same)
            else {"name": o.name, "dtype": o.dtype, "shape": [int(n) for n in o.shape]} for o in self.outputs]
        message = {"inputs": list(self.inputs), "outputs": outputs, "decoded": self.decoded, "rows": self.rows}
        return {**message, "note": self.note} if self.note else message


def option(name, type, summary, **more):
    """An option of a pass; see docs/plugins.md for types. Without `default` the recipe must give it; None is "may be left out"."""
    return {"name": name, "type": type, "summary": summary, **more}


def encode(array, dtype):
    """The bytes of an array of numbers stored as `dtype`. Rounds to nearest, ties to even."""
    if dtype == "BF16":
        bits = numpy.ascontiguousarray(array, dtype="<f4").view("<u4")
        rounded = (bits + (0x7FFF + ((bits >> 16) & 1)).astype("<u4")) >> 16
        rounded = numpy.where(numpy.isnan(array), (bits >> 16) | 0x40, rounded)
        return rounded.astype("<u2")
    if dtype in PLAIN:
        return numpy.ascontiguousarray(array, dtype=PLAIN[dtype])
    raise ValueError(f"arrays cannot be stored as {dtype}; return bytes, or plan another type")


def decode(data, dtype, shape):
    """An array of what is stored as `dtype`. BF16 becomes float32; types that numpy lacks stay bytes, row by row."""
    if dtype in PLAIN:
        return numpy.frombuffer(data, PLAIN[dtype]).reshape(shape)
    if dtype == "BF16":
        return (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return numpy.frombuffer(data, "u1").reshape(list(shape[:-1]) + [-1])


class Plugin:
    """A named set of passes."""

    def __init__(self, name, version):
        self.name, self.version = name, version
        self._passes = {}

    def _add(self, function, plan, apply, options, name, contract):
        name = name or function.__name__.replace("_", "-")
        summary = (function.__doc__ or name).strip().split("\n")[0]
        declared = {"name": name, "summary": summary, "options": list(options)}
        if contract:
            declared["contract"] = contract
        self._passes[name] = (declared, plan, apply)

    def rows(self, function=None, *, options=(), dtype=None, name=None, contract=None):
        """Makes a pass of a function of rows: float32 of shape [rows, columns] in, the same shape out.

        The function is given the declared options by name. What it returns is stored as `dtype`; by default as the
        tensor was, or as F32 when that was a type of blocks. Tensors of integers are left alone.
        """
        def decorate(function):
            def plan(tensors, model, **chosen):
                for tensor in tensors:
                    if tensor.dtype in PLAIN and tensor.dtype not in FLOATS:
                        continue
                    stored = dtype or (tensor.dtype if tensor.dtype in FLOATS else "F32")
                    yield Step([tensor.name], [Tensor(tensor.name, stored, tensor.shape)], decoded=True, rows=True)

            def apply(inputs, outputs, **chosen):
                (array,) = inputs.values()
                result = numpy.asarray(function(array, **_named(chosen)))
                if result.shape != array.shape:
                    raise ValueError(f"{function.__name__} returned shape {list(result.shape)} for {list(array.shape)}")
                return {outputs[0].name: result}

            if numpy is None:
                raise SystemExit("passes of rows need numpy: pip install numpy")
            self._add(function, plan, apply, options, name, contract)
            return function
        return decorate(function) if function else decorate

    def steps(self, plan, *, options=(), name=None, contract=None):
        """Makes a pass of a function of whole tensors.

        `plan(tensors, model, **options)` returns the `Step`s; the function, called `f(inputs, outputs, **options)`, gets
        the inputs of one step by name and returns its computed outputs by name: arrays (without numpy, and for types
        that numpy lacks, bytes), of the shapes that were planned.
        """
        def decorate(function):
            self._add(
                function, lambda tensors, model, **chosen: plan(tensors, model, **_named(chosen)),
                lambda inputs, outputs, **chosen: function(inputs, outputs, **_named(chosen)), options, name, contract)
            return function
        return decorate

    def run(self, threads=1):
        """Answers questions until there are no more. `threads` functions run at a time."""
        source = os.fdopen(os.dup(0), "rb", buffering=0)
        self._output, self._lock = os.dup(1), threading.Lock()
        # What a function prints must not come between the answers.
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        with ThreadPoolExecutor(threads) as pool:
            while True:
                head = _read(source, HEAD.size)
                if head is None:
                    return
                magic, json_count, data_count = HEAD.unpack(head)
                if magic != b"RESQ":
                    sys.exit("this program is a plugin: give it to resq with --plugin")
                question = json.loads(bytes(_read(source, json_count)))
                pool.submit(self._answer, question, _read(source, data_count))

    def _answer(self, question, data):
        answer, parts = {"id": question["id"]}, []
        try:
            more, parts = getattr(self, "_" + question["ask"])(question, data)
            answer.update(more)
        except BaseException as error:  # whatever it is, the host is waiting
            traceback.print_exc()
            parts, where = [], traceback.extract_tb(error.__traceback__)[-1]
            answer["error"] = f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}, line {where.lineno})"
        text = json.dumps(answer).encode()
        parts = [memoryview(part).cast("B") for part in parts if len(part)]
        with self._lock:
            _write(self._output, HEAD.pack(b"RESQ", len(text), sum(len(part) for part in parts)) + text)
            for part in parts:
                _write(self._output, part)

    def _describe(self, question, data):
        passes = [declared for declared, _, _ in self._passes.values()]
        return {"protocol": PROTOCOL, "name": self.name, "version": self.version, "passes": passes}, []

    def _plan(self, question, data):
        _, plan, _ = self._passes[question["pass"]]
        steps = plan([Tensor(**tensor) for tensor in question["tensors"]], question["model"], **question["options"])
        return {"steps": [step._message() for step in steps]}, []

    def _apply(self, question, data):
        _, _, apply = self._passes[question["pass"]]
        view, inputs, start = memoryview(data), {}, 0
        for tensor in question["inputs"]:
            part = view[start:start + tensor["bytes"]]
            inputs[tensor["name"]] = decode(part, tensor["dtype"], tensor["shape"]) if numpy else part
            start += tensor["bytes"]
        outputs = [Tensor(**tensor) for tensor in question["outputs"]]
        results = apply(inputs, outputs, **question["options"])
        parts = []
        for tensor in outputs:
            result = results[tensor.name]
            if numpy and isinstance(result, numpy.ndarray):
                raw = result.dtype == numpy.uint8 and tensor.dtype not in PLAIN and tensor.dtype != "BF16"
                result = numpy.ascontiguousarray(result) if raw else encode(result, tensor.dtype)
                result = result.reshape(-1).view("u1")
            parts.append(result)
        return {}, parts


def _named(options):
    """Options as Python spells names."""
    return {name.replace("-", "_"): value for name, value in options.items()}


def _read(source, count):
    """That many bytes, or None at the end."""
    buffer = bytearray(count)
    view, filled = memoryview(buffer), 0
    while filled < count:
        more = source.readinto(view[filled:])
        if not more:
            return None
        filled += more
    return buffer


def _write(descriptor, data):
    view = memoryview(data)
    while len(view):
        view = view[os.write(descriptor, view):]
