#!/usr/bin/env python3
"""LoRA in PyTorch, as plainly and as fast as its version allows: what
qlora-bench train --compare torch sets beside ours.

    torch_lora.py FOLDER TOKENS TYPE LENGTH BATCH RANK THREADS RATE CHECKPOINT

FOLDER is a Llama or Qwen 2 folder in BF16; TOKENS a file of int32, a step of
BATCH sequences of LENGTH after the other; TYPE float32 or bfloat16, that of
weights and activations, adapters being float32 in any case. The first step is
to warm up. The result is a line of JSON.
"""
import json
import math
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

CLIP = 0.3  # max_grad_norm of qlora-train
ALPHA = 32


def read_tensors(path, dtype):
    with open(path, 'rb') as f:
        size = int.from_bytes(f.read(8), 'little')
        header = json.loads(f.read(size))
        header.pop('__metadata__', None)
        for name, entry in header.items():
            begin, end = entry['data_offsets']
            f.seek(8 + size + begin)
            data = torch.frombuffer(bytearray(f.read(end - begin)),
                                    dtype=torch.bfloat16)
            yield name, data.reshape(entry['shape']).to(dtype)


class Linear(torch.nn.Module):
    """A frozen matrix and a LoRA pair beside it."""

    def __init__(self, weight, bias, rank):
        super().__init__()
        self.weight, self.bias, self.scale = weight, bias, ALPHA / rank
        out, width = weight.shape
        self.a = torch.nn.Parameter(torch.empty(rank, width))
        self.b = torch.nn.Parameter(torch.zeros(out, rank))
        torch.nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x):
        thin = F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype))
        return F.linear(x, self.weight, self.bias) + self.scale * thin


def norm(x, weight, eps):
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * wide.to(x.dtype)


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


def eager(q, k, v):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    T = q.shape[-2]
    mask = torch.ones(T, T, dtype=torch.bool).triu(1)
    return F.softmax(scores.masked_fill(mask, -math.inf), dim=-1) @ v


def fused(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def fused_old(q, k, v):
    return F._scaled_dot_product_attention(q, k, v, is_causal=True)[0]


def fastest_attention(heads, T, D, dtype):
    """Of those that this version has."""
    ways = {'eager': eager}
    if hasattr(F, 'scaled_dot_product_attention'):
        ways['scaled_dot_product_attention'] = fused
    elif hasattr(F, '_scaled_dot_product_attention'):
        ways['_scaled_dot_product_attention'] = fused_old
    took = {}
    for name, way in ways.items():
        qkv = [torch.randn(1, heads, T, D, dtype=dtype, requires_grad=True)
               for _ in range(3)]
        for _ in range(2):
            start = time.monotonic()
            way(*qkv).float().sum().backward()
            took[name] = time.monotonic() - start
    name = min(took, key=took.get)
    return name, ways[name]


class Block(torch.nn.Module):
    MATRICES = ('self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj',
                'self_attn.o_proj', 'mlp.gate_proj', 'mlp.up_proj',
                'mlp.down_proj')

    def __init__(self, tensors, i, config, rank, attend):
        super().__init__()
        at = f'model.layers.{i}.'
        self.config, self.attend = config, attend
        self.norms = [tensors.pop(f'{at}{name}.weight') for name in
                      ('input_layernorm', 'post_attention_layernorm')]
        self.linear = torch.nn.ModuleList(
            Linear(tensors.pop(f'{at}{name}.weight'),
                   tensors.pop(f'{at}{name}.bias', None), rank)
            for name in self.MATRICES)

    def forward(self, x, cos, sin):
        q, k, v, o, gate, up, down = self.linear
        B, T, C = x.shape
        H = self.config['num_attention_heads']
        KV = self.config['num_key_value_heads']
        eps = self.config['rms_norm_eps']
        h = norm(x, self.norms[0], eps)
        q, k, v = (m(h).view(B, T, n, C // H).transpose(1, 2)
                   for m, n in ((q, H), (k, KV), (v, KV)))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = (y.repeat_interleave(H // KV, dim=1) for y in (k, v))
        x = x + o(self.attend(q, k, v).transpose(1, 2).reshape(B, T, C))
        h = norm(x, self.norms[1], eps)
        return x + down(F.silu(gate(h)) * up(h))


class Model:
    def __init__(self, folder, dtype, rank, T):
        with open(os.path.join(folder, 'config.json'), encoding='utf-8') as f:
            self.config = c = json.load(f)
        tensors = dict(read_tensors(
            os.path.join(folder, 'model.safetensors'), dtype))
        D = c['hidden_size'] // c['num_attention_heads']
        angle = torch.outer(torch.arange(T).float(),
                            10000.0 ** (-torch.arange(0, D, 2).float() / D))
        angle = torch.cat((angle, angle), dim=-1)
        self.cos, self.sin = angle.cos().to(dtype), angle.sin().to(dtype)
        self.attention, attend = fastest_attention(
            c['num_attention_heads'], T, D, dtype)
        self.embed = tensors.pop('model.embed_tokens.weight')
        self.head = tensors.pop('lm_head.weight', self.embed)
        self.norm = tensors.pop('model.norm.weight')
        self.blocks = torch.nn.ModuleList(
            Block(tensors, i, c, rank, attend)
            for i in range(c['num_hidden_layers']))

    def loss(self, ids, repeat):
        x = F.embedding(ids, self.embed).requires_grad_()
        for block in self.blocks:
            x = checkpoint(block, x, self.cos, self.sin) if repeat \
                else block(x, self.cos, self.sin)
        x = norm(x, self.norm, self.config['rms_norm_eps'])[:, :-1]
        logits = F.linear(x, self.head).float()
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def cpu_seconds():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def main(folder, tokens, dtype, T, batch, rank, threads, rate, repeat):
    torch.set_num_threads(int(threads))
    torch.manual_seed(42)
    with open(tokens, 'rb') as f:
        ids = torch.frombuffer(bytearray(f.read()), dtype=torch.int32)
    ids = ids.long().view(-1, int(batch), int(T))
    model = Model(folder, getattr(torch, dtype), int(rank), int(T))
    params = list(model.blocks.parameters())
    optimizer = torch.optim.AdamW(params, lr=float(rate), weight_decay=0)
    losses, seconds, cpu = [], [], []
    for step in ids:
        start, busy = time.monotonic(), cpu_seconds()
        loss = model.loss(step, repeat == '1')
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.monotonic() - start)
        cpu.append(cpu_seconds() - busy)
    print(json.dumps({
        'result': 'job', 'version': torch.__version__,
        'attention': model.attention, 'step_tokens': ids[0].numel(),
        'trainable': sum(p.numel() for p in params), 'losses': losses,
        'seconds': seconds, 'cpu_seconds': cpu}))


if __name__ == '__main__':
    main(*sys.argv[1:])
