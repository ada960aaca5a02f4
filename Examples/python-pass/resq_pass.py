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

docs/plugins.md describes all of them, and the protocol this file speaks.
"""
import base64
import inspect
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

    @property
    def float_dtype(self):
        """The type that numbers of this tensor can be stored in: its own where that is a plain one of floats, else F32."""
        return self.dtype if self.dtype in FLOATS else "F32"


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
        self._check()
        outputs = [
            {"name": o.name, "from": o.of} if isinstance(o, Same)
            else {"name": o.name, "dtype": o.dtype, "shape": [int(n) for n in o.shape]} for o in self.outputs]
        message = {"inputs": list(self.inputs), "outputs": outputs, "decoded": self.decoded, "rows": self.rows}
        return {**message, "note": self.note} if self.note else message

    def _check(self):
        """Says in the words of this file what JSON, or the host, would say of what is no plan."""
        for what, given in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not isinstance(given, (list, tuple)):
                raise TypeError(f"the {what} of a Step are a list, not {_article(given)}: write [...]")
        for name in self.inputs:
            if not isinstance(name, str):
                raise TypeError(f"the inputs of a Step are names of tensors, not {_article(name)}: write [tensor.name]")
        for output in self.outputs:
            if not isinstance(output, (Tensor, Same)):
                raise TypeError(f"the outputs of a Step are of Tensor and Same, not {_article(output)}")
            words = (output.name, output.of) if isinstance(output, Same) else (output.name, output.dtype)
            for word in words:
                if not isinstance(word, str):
                    raise TypeError(f"{output}: names and types are texts, not {_article(word)}")


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

    def _add(self, kind, function, plan, apply, options, name, given, **facts):
        """Declares something. `given` are the functions, and how many arguments each has before the options."""
        name = name or function.__name__.replace("_", "-")
        if name in self._things:
            _refuse(f"there are two things named '{name}'; give one of them another with name='...'")
        for called, count in given:
            _check_arguments(name, called, count, options)
        summary = (function.__doc__ or name).strip().split("\n")[0]
        declared = {"name": name, "summary": summary, "options": list(options), **facts}
        try:
            json.dumps(declared)
        except TypeError as error:
            _refuse(f"the declaration of '{name}' has what JSON cannot say; defaults are texts and numbers of Python's own ({error})")
        self._things[name] = (kind, declared, function, plan, apply)

    def rows(self, function=None, *, options=(), dtype=None, name=None, **promises):
        """Makes a pass of a function of rows: float32 of shape [rows, columns] in, the same shape out.

        Every row must be treated by itself: a tensor comes in runs of rows, and what is to see all of it is a pass of `steps`.
        The function is given the declared options by name. What it returns is stored as `dtype`; by default as the
        tensor was, or as F32 when that was a type of blocks. Tensors of integers are left alone. `promises` are those of `steps`.
        """
        def decorate(function):
            def plan(tensors, model, **chosen):
                for tensor in tensors:
                    if tensor.dtype in PLAIN and tensor.dtype not in FLOATS:
                        continue
                    yield Step([tensor.name], [Tensor(tensor.name, dtype or tensor.float_dtype, tensor.shape)], decoded=True, rows=True)

            def apply(inputs, outputs, **chosen):
                (array,) = inputs.values()
                return {outputs[0].name: _shaped(function, function(array, **_named(chosen)), array.shape)}

            _need_numpy("rows")
            self._add("passes", function, plan, apply, options, name, [(function, 1)], **_promises(**promises))
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
                lambda inputs, outputs, **chosen: function(inputs, outputs, **_named(chosen)), options, name,
                [(plan, 2), (function, 2)], **_promises(**promises))
            return function

        if not callable(plan) or _parameters(plan)[:2] == ["inputs", "outputs"]:
            _refuse("a pass of steps is given the function that plans: write @plugin.steps(plan)")
        return decorate

    def rounding(self, function=None, *, types=(), calibrated=False, values=True, options=(), name=None):
        """Makes a way of rounding of a function `f(x, dtype, **options)`: float32 rows of a weight, and the name of a type.

        It returns as many numbers, which are stored to nearest in the type, or with `values=False` the type's own bytes (uint8).
        A `calibrated` one is given whole weights, layer after layer, and the mean of outer(x, x) over what the weight reads:
        `f(x, dtype, moments, **options)`; `moments` is None where nothing was seen. `types` are those it rounds to; empty: all.
        """
        def decorate(function):
            def apply(inputs, outputs, **chosen):
                (output,) = outputs
                x = inputs[output.name]
                moments = [inputs.get("moments")] if calibrated else []
                result = function(x, output.rounded_to or output.dtype, *moments, **_named(chosen))
                if values:
                    result = _shaped(function, result, x.shape)
                elif isinstance(result, numpy.ndarray) and result.dtype == numpy.uint8:
                    # Bytes, also where the type is one that numpy has numbers of.
                    result = result.tobytes()
                return {output.name: result}

            _need_numpy("rounding")
            self._add(
                "roundings", function, None, apply, options, name, [(function, 3 if calibrated else 2)], types=list(types),
                calibrated=calibrated, values=values)
            return function
        return decorate(function) if function else decorate

    def metric(self, function=None, *, reference=False, options=(), name=None):
        """Makes a metric of a function `f(logits, next, **options)`: float32 [rows, vocabulary], and the token after each row.

        It returns a number for each row, of which `resq eval` reports the mean. With `reference` it is called
        `f(logits, reference, next, **options)`.
        """
        def decorate(function):
            def apply(inputs, outputs, **chosen):
                given = [inputs["logits"]] + ([inputs["reference"]] if reference else []) + [inputs["next"]]
                scores = _shaped(function, function(*given, **_named(chosen)), outputs[0].shape, ": a metric is one number per row")
                return {outputs[0].name: scores.astype("<f8")}

            _need_numpy("metric")
            self._add("metrics", function, None, apply, options, name, [(function, 3 if reference else 2)], reference=reference)
            return function
        return decorate(function) if function else decorate

    def statistic(self, function=None, *, matrix=False, largest=False, inputs=(), options=(), name=None):
        """Makes a statistic of a function `f(x, **options)`: float32 rows that linear layers read, [rows, channels].

        It returns a number for each channel, or with `matrix` one for each pair of channels. `resq calibrate` adds up those of all
        rows, or with `largest` keeps the largest. `inputs` are those it wants to see, as docs/plugins.md lists them; empty: all.
        """
        def decorate(function):
            def apply(given, outputs, **chosen):
                why = ": a statistic is one number per " + ("pair of channels" if matrix else "channel")
                numbers = _shaped(function, function(given["rows"], **_named(chosen)), outputs[0].shape, why)
                return {outputs[0].name: numbers.astype("<f8")}

            _need_numpy("statistic")
            self._add(
                "statistics", function, None, apply, options, name, [(function, 1)], matrix=matrix, largest=largest,
                inputs=list(inputs))
            return function
        return decorate(function) if function else decorate

    def type(self, codec=None, *, block=None, bytes=None, name=None):
        """Makes a block type of a class with two functions: `encode(x)`, float32 [blocks, `block`] to uint8 [blocks, `bytes`], and
        `decode(b)`, the other way. Rules of `quantize` may name it, and what they wrote is read again with the same plugin.
        """
        def decorate(codec):
            def apply(inputs, outputs):
                (output,), (given,) = outputs, inputs.values()
                if output.dtype == "F32":
                    return {output.name: _shaped(codec.decode, codec.decode(given), output.shape)}
                encoded = _shaped(codec.encode, codec.encode(given), [output.shape[0], bytes])
                return {output.name: encoded.astype("u1").tobytes()}

            _need_numpy("type")
            if not (hasattr(codec, "encode") and hasattr(codec, "decode")):
                _refuse(f"type '{codec.__name__}' needs two functions, 'encode' and 'decode'")
            self._add("types", codec, None, apply, (), name, [(codec.encode, 1), (codec.decode, 1)], block=block, bytes=bytes)
            return codec

        if codec or not block or not bytes:
            _refuse("a type says how large its blocks are: write @plugin.type(block=ELEMENTS, bytes=BYTES)")
        return decorate

    def exporter(self, function=None, *, options=(), name=None):
        """Makes a format of a function `f(tensors, model, **options)` that returns the `File`s of an output.

        Every tensor has one place. `model["output"]` is the output's name without its ending, `model["provenance"]` what
        should be recorded in it. The bytes are written by resq.
        """
        def decorate(function):
            self._add(
                "exporters", function, lambda tensors, model, **chosen: function(tensors, model, **_named(chosen)), None, options, name,
                [(function, 2)])
            return function
        return decorate(function) if function else decorate

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
        parts = []
        try:
            answer, parts = getattr(self, "_" + question["ask"])(question, data)
            text = json.dumps({"id": question["id"], **answer}).encode()
        except BaseException as error:  # whatever it is, the host is waiting
            _show(error)
            parts, where = [], _place(traceback.extract_tb(error.__traceback__))
            if not where and question.get("pass") in self._things:
                # What this file found wrong with what a function returned.
                where = _home(self._things[question["pass"]][2])
            said = f"{type(error).__name__}: {error}" + (f" ({where})" if where else "")
            text = json.dumps({"id": question["id"], "error": said}).encode()
        parts = [part for part in parts if len(part)]
        with self._lock:
            _write(self._output, HEAD.pack(b"RESQ", len(text), sum(len(part) for part in parts)) + text)
            for part in parts:
                _write(self._output, part)

    def _describe(self, question, data):
        answer = {"protocol": PROTOCOL, "name": self.name, "version": self.version, "shared-memory": "shared-memory" in question}
        if self.memory_limit:
            answer["memory-limit"] = self.memory_limit
        for kind, declared, *_ in self._things.values():
            answer.setdefault(kind, []).append(declared)
        return answer, []

    def _plan(self, question, data):
        kind, declared, _, plan, _ = self._things[question["pass"]]
        planned = plan([Tensor(**tensor) for tensor in question["tensors"]], question["model"], **question["options"])
        key, part = ("files", File) if kind == "exporters" else ("steps", Step)
        if planned is None or isinstance(planned, (Step, File)):
            raise TypeError(
                f"the plan of '{declared['name']}' returned {_article(planned)}, expected all its {part.__name__}s: yield each, or return a list")
        messages = []
        for one in planned:
            if not isinstance(one, part):
                raise TypeError(f"the plan of '{declared['name']}' has {_article(one)} where it needs a {part.__name__}")
            messages.append(one._message())
        return {key: messages}, []

    def _apply(self, question, data):
        _, _, function, _, apply = self._things[question["pass"]]
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
        if not isinstance(results, dict):
            names = ", ".join(repr(tensor.name) for tensor in outputs)
            raise TypeError(f"{function.__name__} returned {_article(results)}, expected a dictionary with the outputs by name: {names}")
        parts = []
        for tensor in outputs:
            if tensor.name not in results:
                found = ", ".join(repr(name) for name in results) or "nothing"
                raise ValueError(f"{function.__name__} returned {found}, and no {tensor.name!r}, which was planned")
            parts.append(_stored(function, results[tensor.name], tensor))
        if not places:
            return {}, parts
        for part, start in zip(parts, places[len(inputs):]):
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


def _stored(function, result, tensor):
    """The bytes of what a function returned for a planned tensor."""
    if numpy and not isinstance(result, (bytes, bytearray, memoryview)):
        array = numpy.asarray(result)
        raw = array.dtype == numpy.uint8 and tensor.dtype not in PLAIN and tensor.dtype != "BF16"
        if tensor.dtype in PLAIN or tensor.dtype == "BF16":
            _shaped(function, array, tensor.shape, f", as '{tensor.name}' was planned")
        result = numpy.ascontiguousarray(array) if raw else encode(array, tensor.dtype)
        result = result.reshape(-1).view("u1")
    part = memoryview(result).cast("B")
    if len(part) != tensor.bytes:
        raise ValueError(
            f"{function.__name__} returned {len(part)} bytes for {tensor.bytes}, as '{tensor.name}' was planned: {tensor.dtype} {list(tensor.shape)}")
    return part


def _shaped(function, result, shape, why=""):
    """What a function returned, as an array of the shape it must have."""
    array = numpy.asarray(result)
    if array.shape != tuple(shape):
        raise ValueError(f"{function.__name__} returned shape {list(array.shape)} for {list(shape)}{why}")
    return array


def _refuse(what):
    """Ends the program over a mistake in a declaration, with the line that made it."""
    raise SystemExit(f"{_place(traceback.extract_stack()) or 'resq_pass'}: {what}")


def _need_numpy(kind):
    if numpy is None:
        _refuse(f"@plugin.{kind} needs numpy: {sys.executable} -m pip install numpy")


def _check_arguments(name, function, count, options):
    """Ends the program when a function cannot be called as it will be."""
    chosen = [entry["name"].replace("-", "_") for entry in options]
    try:
        signature = inspect.signature(function)
    except ValueError:  # something in C that does not say
        return
    try:
        signature.bind(*[None] * count, **dict.fromkeys(chosen))
    except TypeError as error:
        after = f", and the options {', '.join(chosen)} by name" if chosen else ""
        _refuse(f"'{name}': {function.__name__}{signature} is called with {count} arguments{after}: {error}")


def _parameters(function):
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:
        return []


def _show(error):
    """Prints how an error came about, from the author's function on; nothing when this file found it."""
    frame = error.__traceback__
    while frame and frame.tb_frame.f_code.co_filename == __file__:
        frame = frame.tb_next
    if frame:
        traceback.print_exception(type(error), error, frame)


def _place(frames):
    """The last of some frames that is neither in this file nor in a library, as a text; None where there is none."""
    libraries = (os.path.dirname(os.__file__) + os.sep, os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
    for frame in reversed(frames):
        path = os.path.abspath(frame.filename)
        own = path != os.path.abspath(__file__) and not frame.filename.startswith("<")
        if own and not any(library in path for library in libraries):
            return f"{os.path.basename(path)}, line {frame.lineno}"
    return None


def _home(function):
    """Where a function is written; None where that cannot be told."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code and f"{os.path.basename(code.co_filename)}, line {code.co_firstlineno}"


def _article(value):
    return "nothing" if value is None else f"{'an' if type(value).__name__[0] in 'aeiouAEIOU' else 'a'} {type(value).__name__}"


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
