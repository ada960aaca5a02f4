"""transformers judges `resq generate`: compare_greedy.py RESQ MODEL [COUNT]

Continues prompts greedily with transformers in F32 and with `resq generate --json`, plain and, where the Hugging Face directory
MODEL has a chat template, through it; token ids must be equal, those of the prompt included. Prints a line per prompt; exit 1 if any
differ.
"""

import json
import subprocess
import sys

import torch
import transformers

PLAIN = ["Monday, Tuesday, Wednesday,", "def fibonacci(n):\n    if n < 2:\n        return n\n", "The capital of France is", "1 2 3 4 5 6 7",
         "Once upon a time, in a land far away,", "El perro y el gato", "{\"name\": \"Ada\", \"age\":", "水の化学式は"]
CHAT = [(None, "What is the capital of France?"), (None, "Count from one to ten."), ("Answer in one word.", "Is the sky blue?"),
        ("You are a poet.", "Write two lines about the sea.\nRhyme them.")]


def main():
    resq, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 24
    transformers.utils.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    cases = [(prompt, [], tokenizer(prompt)["input_ids"]) for prompt in PLAIN]
    for system, prompt in CHAT if tokenizer.chat_template else []:
        messages = [{"role": "system", "content": system}] if system else []
        ids = tokenizer.apply_chat_template(messages + [{"role": "user", "content": prompt}], add_generation_prompt=True)
        cases.append((prompt, ["--chat"] + (["--system", system] if system else []), ids))
    differing = 0
    for prompt, options, ids in cases:
        with torch.no_grad():
            output = model.generate(torch.tensor([ids]), max_new_tokens=count, do_sample=False)
        theirs = output[0, len(ids):].tolist()
        command = [resq, "generate", folder, "--prompt", prompt, "--max-tokens", str(count), "--json"] + options
        ours = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        same = ours["tokens"] == theirs and ours["prompt_tokens"] == len(ids)
        differing += not same
        print(f"{'equal ' if same else 'OTHER '} {len(ids)} + {len(theirs)} tokens {' '.join(options[:1])} {prompt!r}: {tokenizer.decode(theirs)!r}")
        if not same:
            place = next((i for i, pair in enumerate(zip(ours["tokens"], theirs)) if pair[0] != pair[1]), "the end")
            print(f"       resq: {ours['prompt_tokens']} + {ours['tokens']}, differs at {place}")
    print(f"{len(cases) - differing} of {len(cases)} prompts equal")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
