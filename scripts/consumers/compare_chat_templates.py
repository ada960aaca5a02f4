"""transformers judges chat templates: compare_chat_templates.py RESQ MODEL TEMPLATE...

Renders conversations through each template (a file of Jinja, or a directory whose `*.jinja` are taken) by transformers and by
`resq tokenize --chat`, with the tokenizer of the Hugging Face directory MODEL, and compares the texts character by character. A
conversation that a template refuses must be refused by both. Prints what differs; exit 1 if anything does.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from transformers import AutoTokenizer, logging

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a \"place\" <now> & later",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Town, e.g. Zürich"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": ["integer", "null"], "default": 3},
            },
            "required": ["place"],
        },
    },
}
CALL = {"type": "function", "id": "call12345", "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2}}}


def conversations():
    user = {"role": "user", "content": "  What is 2 + 2?\n"}
    answer = {"role": "assistant", "content": "<think>\nsum\n</think>\n\nFour — 四 \U0001F642"}
    system = {"role": "system", "content": "Be 'brief'.\n"}
    more = {"role": "user", "content": "And \"3\" * 3?"}
    yield "user", {"messages": [user]}
    yield "system", {"messages": [system, user]}
    yield "turns", {"messages": [user, answer, more]}
    yield "long", {"messages": [system, user, answer, more, answer, user]}
    yield "finished", {"messages": [user, answer], "add_generation_prompt": False}
    yield "two of the user", {"messages": [user, more]}
    yield "parts", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "you"}]}]}
    yield "empty text", {"messages": [{"role": "user", "content": ""}]}
    yield "no content", {"messages": [{"role": "user", "content": None}]}
    yield "tools", {"messages": [system, user], "tools": [TOOL]}
    called = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    reply = {"role": "tool", "name": "get_weather", "tool_call_id": "call12345", "content": "{\"sky\": \"clear\"}"}
    yield "tool call", {"messages": [user, called, reply], "tools": [TOOL]}
    yield "tool answer", {"messages": [user, called, reply, answer, more], "tools": [TOOL]}
    yield "no thinking", {"messages": [user], "enable_thinking": False}


def expected(tokenizer, template, conversation):
    variables = {"add_generation_prompt": True, **conversation}
    try:
        return tokenizer.apply_chat_template(chat_template=template, conversation=variables.pop("messages"), tokenize=False, **variables)
    except Exception as error:
        return error


def rendered(resq, folder, conversation):
    text = json.dumps(conversation)
    result = subprocess.run([resq, "tokenize", folder, "--text", "-", "--chat", "--json"], input=text, capture_output=True, text=True)
    if result.returncode not in (0, 65):
        sys.exit(f"exit {result.returncode}: {result.stderr}")
    return json.loads(result.stdout)["text"] if result.returncode == 0 else RuntimeError(result.stderr.strip())


def main():
    logging.set_verbosity_error()
    resq, model, paths = sys.argv[1], Path(sys.argv[2]), [Path(path) for path in sys.argv[3:]]
    files = sorted(file for path in paths for file in (path.glob("*.jinja") if path.is_dir() else [path]))
    tokenizer = AutoTokenizer.from_pretrained(model)
    agreed = refused = differing = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
            if (model / name).exists():
                os.symlink((model / name).resolve(), Path(folder) / name)
        for file in files:
            template = file.read_text()
            (Path(folder) / "chat_template.jinja").write_text(template)
            for name, conversation in conversations():
                ours, theirs = rendered(resq, folder, conversation), expected(tokenizer, template, conversation)
                if isinstance(ours, Exception) and isinstance(theirs, Exception):
                    refused += 1
                elif isinstance(ours, Exception) or isinstance(theirs, Exception) or ours != theirs:
                    differing += 1
                    print(f"{file.name}, {name}:\n    transformers: {theirs!r}\n    resq:         {ours!r}")
                else:
                    agreed += 1
    print(f"{len(files)} templates: {agreed} conversations equal, {refused} refused by both, {differing} differ")
    sys.exit(differing > 0 or agreed == 0)


if __name__ == "__main__":
    main()
