"""safetensors reads the weights of a Hugging Face directory: read_safetensors.py DIRECTORY GGUF

Every value must be finite, and the token embedding must hold what gguf-py finds in GGUF, an F16 file made from the directory.
"""

import sys
from pathlib import Path

import ml_dtypes  # noqa: F401 (teaches numpy the name bfloat16)
import numpy
from gguf import GGUFReader
from safetensors import safe_open


def main():
    folder, gguf = Path(sys.argv[1]), sys.argv[2]
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():
                if name in tensors:
                    raise SystemExit(f"{path}: {name} comes twice")
                tensors[name] = file.get_tensor(name)
                if not numpy.isfinite(tensors[name].astype(numpy.float32)).all():
                    raise SystemExit(f"{path}: {name} has values that are not finite")
    embedding = next(tensor for tensor in GGUFReader(gguf).tensors if tensor.name == "token_embd.weight")
    if not numpy.array_equal(tensors["model.embed_tokens.weight"].astype(numpy.float32).astype(numpy.float16), embedding.data):
        raise SystemExit(f"{folder}: the token embedding differs from that of {gguf}")
    print(f"{len(tensors)} tensors")


if __name__ == "__main__":
    main()
