"""Compares the token ids of resq with those of the tokenizers package.

    compare_tokens.py RESQ TOKENIZER_JSON_FOLDER [TEXT_FILE ...]

The texts: the given files, and one made here of every script, emoji sequences, odd whitespace, control characters and
random bytes as far as they are text. Prints one line per text; exit 1 when any id differs.
"""
import random
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import Tokenizer

SAMPLES = [
    "The quick brown fox doesn't jump; it's 3,141.59 o'clock -- isn't IT? WE'LL see.",
    "def f(x):\n\tif x >= 10:\n        return [y**2 for y in range(x)]  # 0xFF\r\n\r\n\r\n",
    "Zażółć gęślą jaźń. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Съешь ещё этих мягких французских булок.",
    "日本語の文章です。中文也可以。한국어도 됩니다. ภาษาไทย العربية עברית हिन्दी தமிழ்",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 👍🏽 ❤️ ✈︎ 1️⃣",
    " \t\n\u00a0\u2003\u3000\u200b  \n\n   x   \n \u0085 \x0b\x0c\x1c a",
    "\x00\x01\x02\x7f\x80\ufeff\ufffd\u200d\u0301e\u0301 é \u1e9b\u0323 ﬁ Ⅷ ½ ①",
    "<|im_start|>user\nHi<|im_end|>\n<s></s><unk><pad>[INST] <|endoftext|><|begin_of_text|><bos><eos>",
    "1234567890 12 345 6789 0.5e-10 ²³ ٣٤٥ १२३",
    "a" * 3000 + " " * 3000 + "\n" * 500 + "ab" * 1000,
]


def sampler(seed):
    """Samples in random order, single characters of all planes, and random bytes that are text."""
    generator = random.Random(seed)
    assigned = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) not in ("Cn", "Co")]
    parts = []
    for _ in range(400):
        kind = generator.randrange(5)
        if kind == 0:
            parts.append(generator.choice(SAMPLES))
        elif kind == 1:
            parts.append("".join(generator.choices(assigned, k=generator.randrange(1, 60))))
        elif kind == 2:
            parts.append(generator.randbytes(generator.randrange(1, 200)).decode("utf-8", "ignore"))
        elif kind == 3:
            sample = generator.choice(SAMPLES)
            begin = generator.randrange(len(sample))
            parts.append(sample[begin : begin + generator.randrange(1, 40)])
        else:
            parts.append(generator.choice([" ", "  ", "\n", "\n\n", "\t", ""]))
    return "".join(parts)


def main():
    resq, folder, files = sys.argv[1], sys.argv[2], sys.argv[3:]
    tokenizer = Tokenizer.from_file(folder if folder.endswith(".json") else folder + "/tokenizer.json")
    texts = [(name, open(name, encoding="utf-8", newline="").read()) for name in files]
    texts += [(f"sampler {seed}", sampler(seed)) for seed in range(8)]
    failed = False
    for name, text in texts:
        with tempfile.NamedTemporaryFile("wb", suffix=".txt") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            printed = subprocess.run([resq, "tokenize", folder, "--text", file.name], capture_output=True, text=True)
        if printed.returncode != 0:
            print(f"{name}: {printed.stderr.strip()}")
            failed = True
            continue
        ours = [int(line) for line in printed.stdout.split()]
        theirs = tokenizer.encode(text).ids
        place = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), None)
        if ours == theirs:
            print(f"{name}: {len(ours)} ids equal")
        else:
            failed = True
            place = min(len(ours), len(theirs)) if place is None else place
            pieces = [tokenizer.id_to_token(i) for i in theirs[max(0, place - 2) : place + 3]]
            print(f"{name}: differs at {place}: {ours[place:place + 4]} for {theirs[place:place + 4]}, theirs around it {pieces!r}")
    sys.exit(1 if failed else 0)


main()
