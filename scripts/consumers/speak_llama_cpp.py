"""llama.cpp loads a GGUF and continues a text greedily: speak_llama_cpp.py MODEL.gguf PROMPT COUNT

Prints the continuation. The server is llama.cpp's own, called in this process; no sampling parameter is left to chance.
"""

import json
import os
import sys


def main():
    model, prompt, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # llama.cpp logs to both streams; the answer goes to the real standard output.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = 512
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    parameters.cpuparams.n_threads = 2
    parameters.cpuparams_batch.n_threads = 2
    server = xllamacpp.Server(parameters)
    reply = server.handle_completions({"prompt": prompt, "max_tokens": count, "temperature": 0, "top_k": 1, "cache_prompt": False})
    if isinstance(reply, (str, bytes)):
        reply = json.loads(reply)
    if "choices" not in reply:
        raise SystemExit(f"llama.cpp answers {reply}")
    answer.write(reply["choices"][0]["text"] + "\n")
    answer.close()
    # The server's threads have nothing left to do; do not wait for them.
    os._exit(0)


if __name__ == "__main__":
    main()
