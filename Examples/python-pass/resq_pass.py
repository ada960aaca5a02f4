"""Passes for resq in Python: one file, to be copied beside yours. Needs the standard library, and numpy for arrays.

    import resq_pass

    plugin = resq_pass.Plugin("mine", version="1.0")

    @plugin.rows
    def double(x):
        "Doubles every weight."
        return x * 2

    plugin.run()

What is decorated is one of seven kinds. The first two are passes:

    @plugin.rows      gets some rows of one tensor as float32 and returns as many rows of the same length
    @plugin.steps     gets whole tensors; a function of its own plans which, and what comes out
    @plugin.rounding  gets rows of a weight that `quantize` rounds, and returns what is stored
    @plugin.type      is a class that encodes and decodes blocks of a type of its own
    @plugin.statistic gets rows that linear layers read in `resq calibrate`, and returns numbers that are added up
    @plugin.metric    gets logits of `resq eval`, and returns a number for each row
    @plugin.exporter  plans the files of a target format

docs/plugins.md describes both, and the protocol this file speaks.
"""
import base64
import json
import mmap
import os
import struct
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Dict, List, Optional

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
    #: Of what a rounding returns: the type that its numbers will be stored in.
    rounded_to: Optional[str] = None


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


@dataclass
class File:
    """A file of a target format: what it begins with, and where in it the bytes of each tensor stand."""

    header: bytes
    #: Offsets from the start of the file, by the tensor's name.
    tensors: Dict[str, int]
    #: Bytes of the whole file.
    bytes: int
    #: None when the output is this one file.
    name: Optional[str] = None

    def _message(self):
        placed = [{"name": name, "at": int(at)} for name, at in self.tensors.items()]
        message = {"header": base64.b64encode(self.header).decode(), "tensors": placed, "bytes": int(self.bytes)}
        return {**message, "name": self.name} if self.name else message


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
    """A named set of passes and more. `memory_limit` promises that the process takes at most so many bytes of memory."""

    def __init__(self, name, version, memory_limit=None):
        self.name, self.version, self.memory_limit = name, version, memory_limit
        self._things = {}

    def _add(self, kind, function, plan, apply, options, name, **facts):
        name = name or function.__name__.replace("_", "-")
        summary = (function.__doc__ or name).strip().split("\n")[0]
        declared = {"name": name, "summary": summary, "options": list(options), **facts}
        self._things[name] = (kind, declared, plan, apply)

    def rows(self, function=None, *, options=(), dtype=None, name=None, **promises):
        """Makes a pass of a function of rows: float32 of shape [rows, columns] in, the same shape out.

        The function is given the declared options by name. What it returns is stored as `dtype`; by default as the
        tensor was, or as F32 when that was a type of blocks. Tensors of integers are left alone. `promises` are those of `steps`.
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
            self._add("passes", function, plan, apply, options, name, **_promises(**promises))
            return function
        return decorate(function) if function else decorate

    def steps(self, plan, *, options=(), name=None, **promises):
        """Makes a pass of a function of whole tensors.

        `plan(tensors, model, **options)` returns the `Step`s; the function, called `f(inputs, outputs, **options)`, gets
        the inputs of one step by name and returns its computed outputs by name: arrays (without numpy, and for types
        that numpy lacks, bytes), of the shapes that were planned.

        What the pass promises, resq holds it to: `contract`, a sentence, is for people; `preserves_function=True`, the model computes
        what it did; `reads` and `writes`, selectors as recipes have them, the tensors it looks at and those it changes.
        """
        def decorate(function):
            self._add(
                "passes", function, lambda tensors, model, **chosen: plan(tensors, model, **_named(chosen)),
                lambda inputs, outputs, **chosen: function(inputs, outputs, **_named(chosen)), options, name, **_promises(**promises))
            return function
        return decorate

    def rounding(self, *, types=(), calibrated=False, values=True, options=(), name=None):
        """Makes a way of rounding of a function `f(x, dtype, **options)`: float32 rows of a weight, and the name of a type.

        It returns as many numbers, which are stored to nearest in the type, or with `values=False` the type's own bytes.
        A `calibrated` one is given whole weights, layer after layer, and the mean of outer(x, x) over what the weight reads:
        `f(x, dtype, moments, **options)`; `moments` is None where nothing was seen. `types` are those it rounds to; empty: all.
        """
        def decorate(function):
            def apply(inputs, outputs, **chosen):
                (output,) = outputs
                x = inputs[output.name]
                moments = [inputs.get("moments")] if calibrated else []
                result = function(x, output.rounded_to or output.dtype, *moments, **_named(chosen))
                return {output.name: result}

            self._add("roundings", function, None, apply, options, name, types=list(types), calibrated=calibrated, values=values)
            return function
        return decorate

    def metric(self, *, reference=False, options=(), name=None):
        """Makes a metric of a function `f(logits, next, **options)`: float32 [rows, vocabulary], and the token after each row.

        It returns a number for each row, of which `resq eval` reports the mean. With `reference` it is called
        `f(logits, reference, next, **options)`.
        """
        def decorate(function):
            def apply(inputs, outputs, **chosen):
                given = [inputs["logits"]] + ([inputs["reference"]] if reference else []) + [inputs["next"]]
                return {outputs[0].name: numpy.asarray(function(*given, **_named(chosen)), dtype="<f8")}

            self._add("metrics", function, None, apply, options, name, reference=reference)
            return function
        return decorate

    def statistic(self, *, matrix=False, largest=False, inputs=(), options=(), name=None):
        """Makes a statistic of a function `f(x, **options)`: float32 rows that linear layers read, [rows, channels].

        It returns a number for each channel, or with `matrix` one for each pair of channels. `resq calibrate` adds up those of all
        rows, or with `largest` keeps the largest. `inputs` are those it wants to see, as docs/plugins.md lists them; empty: all.
        """
        def decorate(function):
            def apply(given, outputs, **chosen):
                return {outputs[0].name: numpy.asarray(function(given["rows"], **_named(chosen)), dtype="<f8")}

            self._add(
                "statistics", function, None, apply, options, name, matrix=matrix, largest=largest, inputs=list(inputs))
            return function
        return decorate

    def type(self, *, block, bytes, name=None):
        """Makes a block type of a class with two functions: `encode(x)`, float32 [blocks, `block`] to uint8 [blocks, `bytes`], and
        `decode(b)`, the other way. Rules of `quantize` may name it, and what they wrote is read again with the same plugin.
        """
        def decorate(codec):
            def apply(inputs, outputs):
                (output,), (given,) = outputs, inputs.values()
                return {output.name: codec.decode(given) if output.dtype == "F32" else numpy.asarray(codec.encode(given), dtype="u1")}

            self._add("types", codec, None, apply, (), name, block=block, bytes=bytes)
            return codec
        return decorate

    def exporter(self, *, options=(), name=None):
        """Makes a format of a function `f(tensors, model, **options)` that returns the `File`s of an output.

        Every tensor has one place. `model["output"]` is the output's name without its ending, `model["provenance"]` what
        should be recorded in it. The bytes are written by resq.
        """
        def decorate(function):
            self._add(
                "exporters", function, lambda tensors, model, **chosen: function(tensors, model, **_named(chosen)), None, options, name)
            return function
        return decorate

    def run(self, threads=1):
        """Answers questions until there are no more. `threads` functions run at a time."""
        source = os.fdopen(os.dup(0), "rb", buffering=0)
        self._output, self._lock, self._memory = os.dup(1), threading.Lock(), {}
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
        parts = [part for part in parts if len(part)]
        with self._lock:
            _write(self._output, HEAD.pack(b"RESQ", len(text), sum(len(part) for part in parts)) + text)
            for part in parts:
                _write(self._output, part)

    def _describe(self, question, data):
        answer = {"protocol": PROTOCOL, "name": self.name, "version": self.version, "shared-memory": "shared-memory" in question}
        if self.memory_limit:
            answer["memory-limit"] = self.memory_limit
        for kind, declared, _, _ in self._things.values():
            answer.setdefault(kind, []).append(declared)
        return answer, []

    def _plan(self, question, data):
        kind, _, plan, _ = self._things[question["pass"]]
        planned = plan([Tensor(**tensor) for tensor in question["tensors"]], question["model"], **question["options"])
        return {"files" if kind == "exporters" else "steps": [part._message() for part in planned]}, []

    def _apply(self, question, data):
        _, _, _, apply = self._things[question["pass"]]
        view, places = memoryview(data), None
        if "memory" in question:
            view, places = self._mapped(question["memory"]), question["memory"]["at"]
        inputs, start = {}, 0
        for number, tensor in enumerate(question["inputs"]):
            start = places[number] if places else start
            part = view[start:start + tensor["bytes"]]
            inputs[tensor["name"]] = decode(part, tensor["dtype"], tensor["shape"]) if numpy else part
            start += tensor["bytes"]
        outputs = [Tensor(**_named(tensor)) for tensor in question["outputs"]]
        results = apply(inputs, outputs, **question["options"])
        parts = []
        for tensor in outputs:
            result = results[tensor.name]
            if numpy and isinstance(result, numpy.ndarray):
                raw = result.dtype == numpy.uint8 and tensor.dtype not in PLAIN and tensor.dtype != "BF16"
                result = numpy.ascontiguousarray(result) if raw else encode(result, tensor.dtype)
                result = result.reshape(-1).view("u1")
            parts.append(memoryview(result).cast("B"))
        if not places:
            return {}, parts
        for tensor, part, start in zip(outputs, parts, places[len(inputs):]):
            if len(part) == tensor.bytes:
                view[start:start + len(part)] = part
        return {"written": [len(part) for part in parts]}, []

    def _mapped(self, memory):
        """The memory that a question's tensors are in; the host uses a piece for many."""
        with self._lock:
            for number in memory["gone"]:
                self._memory.pop(number, None)
            if memory["number"] not in self._memory:
                descriptor = os.open(memory["path"], os.O_RDWR)
                self._memory[memory["number"]] = memoryview(mmap.mmap(descriptor, memory["bytes"]))
                os.close(descriptor)
            return self._memory[memory["number"]]


def _promises(contract=None, preserves_function=False, reads=None, writes=None):
    promises = {"contract": contract, "preserves-function": preserves_function, "reads": reads, "writes": writes}
    return {key: value for key, value in promises.items() if value}


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
