"""transformers loads a Hugging Face directory and continues a text greedily: speak_transformers.py DIRECTORY PROMPT COUNT"""

import sys

import torch
import transformers


def main():
    folder, prompt, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    transformers.utils.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        output = model.generate(**ids, max_new_tokens=count, do_sample=False)
    print(tokenizer.decode(output[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))


if __name__ == "__main__":
    main()
