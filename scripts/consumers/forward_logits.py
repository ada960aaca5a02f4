#!/usr/bin/env python3
"""Logits of a Hugging Face model by transformers in F32, for the forward pass to be compared with.

    forward_logits.py MODEL IDS.npy COUNT OUTPUT.safetensors

Takes COUNT ids from the array. Then, with the model in any form that resq opens:

    RESQ_FORWARD=PATH=OUTPUT.safetensors scripts/test --filter RealModelTests
"""

import sys

import numpy
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

path, ids, count, output = sys.argv[1], numpy.load(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model = AutoModelForCausalLM.from_pretrained(path, torch_dtype=torch.float32, attn_implementation="eager").eval()
tokens = torch.from_numpy(ids.reshape(-1)[:count].astype(numpy.int64))
with torch.no_grad():
    logits = model(tokens[None]).logits[0]
print(f"{tuple(logits.shape)}, largest {logits.abs().max().item():.3f}")
save_file({"ids": tokens.to(torch.int32), "logits": logits.contiguous()}, output)
