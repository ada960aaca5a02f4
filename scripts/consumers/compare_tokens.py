"""Compares the tokens of resq, and the texts of tokens, with those of the tokenizers or the sentencepiece package.

    compare_tokens.py RESQ TOKENIZER [TEXT_FILE ...] [--reference FILE]

TOKENIZER is what resq reads: a folder, tokenizer.json, tokenizer.model or a GGUF. FILE is the reference's, when it is another file:
a tokenizer.json, or a SentencePiece model. The texts: the given files, and mixtures made here of every script, emoji sequences, odd
whitespace, control characters, random bytes as far as they are text, and the vocabulary's own added tokens amid text. Each is encoded
with and without the tokens for its start and end and decoded with and without special tokens, as are random ids. Prints one line per
text; exit 1 when anything differs.
"""
import argparse
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

SAMPLES = [
    "The quick brown fox doesn't jump; it's 3,141.59 o'clock -- isn't IT? WE'LL see.",
    "def f(x):\n\tif x >= 10:\n        return [y**2 for y in range(x)]  # 0xFF\r\n\r\n\r\n",
    "Zażółć gęślą jaźń. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Съешь ещё этих мягких французских булок. İıſKÅß ẞ",
    "日本語の文章です。中文也可以。한국어도 됩니다. 각 ภาษาไทย العربية עברית हिन्दी தமிழ் ꦗꦮ ᚠᚢ 𐌰𐌱 𝒳𝔜",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷🇫 👍🏽 ❤️ ✈︎ 1️⃣ #️⃣ 🧑🏿‍🚀",
    " \t\n\u00a0\u2003\u3000\u200b  \n\n   x   \n \u0085 \x0b\x0c\x1c\x1d\x1e\x1f a\u2028b\u2029c\u180e\u1680 \r \r\n\r",
    "\x00\x01\x02\x7f\x80\x9f\ufeff\ufffd\u200d\u0301e\u0301 é \u1e9b\u0323 ﬁ Ⅷ ½ ① \ufdfa \ufffe\uffff\U0010ffff\ue000",
    "<|im_start|>user\nHi<|im_end|>\n<s></s><unk><pad>[INST] <|endoftext|><|begin_of_text|><bos><eos>▁ ▁▁ <0x0A><0xFF>",
    "1234567890 12 345 6789 0.5e-10 ²³ ٣٤٥ १२३ ⅷ 𝟘𝟙 一二",
    "a" * 3000 + " " * 3000 + "\n" * 500 + "ab" * 1000 + "é" * 700 + "四" * 500 + "e\u0301" * 300 + "\u200d" * 100,
]


def sampler(seed, added):
    """Samples in random order, single characters of all planes, random bytes that are text, and added tokens."""
    generator = random.Random(seed)
    assigned = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) not in ("Cn", "Co")]
    parts = []
    for _ in range(400):
        kind = generator.randrange(6)
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
        elif kind == 4:
            parts.append(generator.choice([" ", "  ", "\n", "\n\n", "\t", ""]))
        elif added:
            token = generator.choice(added)
            parts.append(generator.choice(["", " ", "\n"]) + generator.choice([token, token[:-1], token[1:], token * 2]) + generator.choice(["", " ", "x", "\t"]))
    return "".join(parts)


class HuggingFace:
    """A tokenizer.json as the tokenizers package has it."""

    def __init__(self, path):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(path)
        self.added = sorted(token.content for token in self.tokenizer.get_added_tokens_decoder().values())
        self.size = self.tokenizer.get_vocab_size()
        self.encodings = [([], lambda text: self.tokenizer.encode(text).ids),
                          (["--no-special"], lambda text: self.tokenizer.encode(text, add_special_tokens=False).ids)]
        self.decodings = [([], lambda ids: self.tokenizer.decode(ids, skip_special_tokens=False)),
                          (["--no-special"], lambda ids: self.tokenizer.decode(ids, skip_special_tokens=True))]

    def piece(self, token):
        return self.tokenizer.id_to_token(token)


class SentencePiece:
    """A SentencePiece model: no token for a start, and control tokens in a text are text."""

    def __init__(self, path):
        from sentencepiece import SentencePieceProcessor

        self.processor = SentencePieceProcessor(model_file=path)
        self.size = self.processor.vocab_size()
        self.added = [self.piece(token) for token in range(self.size) if self.processor.is_control(token)]
        self.encodings = [(["--no-special", "--plain"], self.processor.encode)]
        self.decodings = [(["--no-special"], lambda ids: self.processor.decode([i for i in ids if not self.processor.is_control(i)]))]

    def piece(self, token):
        return self.processor.id_to_piece(token)


def resq(*arguments, given):
    with tempfile.NamedTemporaryFile("wb", suffix=".txt") as file:
        file.write(given.encode("utf-8"))
        file.flush()
        printed = subprocess.run([program, "tokenize", *arguments, "--text", file.name], capture_output=True)
    if printed.returncode != 0:
        raise RuntimeError(printed.stderr.decode().strip())
    return printed.stdout.decode("utf-8")


def place(ours, theirs):
    return next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))


def compare(name, text, reference, tokenizer):
    """- Returns: whether all is equal."""
    problems, counts = [], []
    for options, encode in reference.encodings:
        ours, theirs = [int(line) for line in resq(tokenizer, *options, given=text).split()], encode(text)
        counts.append(len(theirs))
        if ours != theirs:
            at = place(ours, theirs)
            around = [reference.piece(i) for i in theirs[max(0, at - 2) : at + 3]]
            problems.append(f"ids {' '.join(options)} differ at {at}: {ours[at:at + 4]} for {theirs[at:at + 4]}, theirs around it {around!r}")
    return report(name, problems + decoded(theirs, reference, tokenizer), f"{' and '.join(map(str, counts))} ids, and their text")


def decoded(ids, reference, tokenizer):
    problems = []
    for options, decode in reference.decodings:
        ours, theirs = resq(tokenizer, "--decode", *options, given=" ".join(map(str, ids))), decode(ids)
        if ours != theirs:
            at = place(ours, theirs)
            problems.append(f"text {' '.join(options)} differs at {at}: {ours[max(0, at - 5):at + 9]!r} for {theirs[max(0, at - 5):at + 9]!r}")
    return problems


def report(name, problems, equal):
    print(f"{name}: {'; '.join(problems)}" if problems else f"{name}: {equal} equal", flush=True)
    return not problems


def main():
    global program
    parser = argparse.ArgumentParser()
    parser.add_argument("resq")
    parser.add_argument("tokenizer")
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--reference")
    arguments = parser.parse_args()
    program, tokenizer = arguments.resq, arguments.tokenizer
    path = pathlib.Path(arguments.reference or tokenizer)
    path = path / "tokenizer.json" if path.is_dir() else path
    reference = (HuggingFace if path.suffix == ".json" else SentencePiece)(str(path))
    texts = [(name, open(name, encoding="utf-8", newline="").read()) for name in arguments.texts]
    texts += [(f"sampler {seed}", sampler(seed, reference.added)) for seed in range(8)]
    good = True
    for name, text in texts:
        try:
            good &= compare(name, text, reference, tokenizer)
        except RuntimeError as error:
            good = report(name, [str(error)], "")
    generator = random.Random(8)
    ids = [token for token in generator.choices(range(reference.size), k=20000) if reference.piece(token) is not None]
    good &= report("random ids", decoded(ids, reference, tokenizer), f"the text of {len(ids)} ids")
    sys.exit(0 if good else 1)


main()
