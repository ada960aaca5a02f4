"""ik_llama.cpp loads a GGUF and continues a text greedily: speak_ik.py MODEL.gguf PROMPT COUNT"""

import os
import sys


def main():
    model, prompt, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # The library logs to both streams; the answer goes to the real standard output.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from ik_llama_cpp import IkLlama

    llama = IkLlama(model, n_ctx=512, n_threads=2, flash_attn=False, verbose=False)
    tokens = llama.tokenize(prompt, add_bos=False)
    text = llama.detokenize(llama.generate(tokens, max_tokens=count, temperature=0.0))
    answer.write(text + "\n")


if __name__ == "__main__":
    main()
