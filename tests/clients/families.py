#!/usr/bin/env python3
"""Tokenizers of all families in GGUF files of ours: llama.cpp gives the ids of
Hugging Face's library, and so does that library for the files that a merge
carries over. The models around them are made of zeros."""
import json
import pathlib
import shutil
import struct
import sys

import client
import golden

WIDTH = 32

# Texts in which llama.cpp differs: it takes "<s>" and "</s>" for special
# tokens, and puts no character in its normal form.
TAGS = '<s>[INST] hi [/INST] ok</s>'
DIFFERS = {
    'llama2': (TAGS,),
    'qwen3': (TAGS, 'cafe\u0301 (NFD) vs caf\u00e9 (NFC)'),
}


def write_model(folder, name):
    """A Llama of one layer, all zeros, around a tokenizer."""
    source = golden.shared() / 'tokenizers' / name
    tokenizer = golden.load(source / 'tokenizer.json')
    top = max([*tokenizer['model']['vocab'].values(),
               *(t['id'] for t in tokenizer['added_tokens'])])
    vocab = (top + 1 + 31) // 32 * 32
    folder.mkdir()
    for file in source.iterdir():
        shutil.copyfile(file, folder / file.name)
    golden.save(folder / 'config.json', {
        'model_type': 'llama', 'architectures': ['LlamaForCausalLM'],
        'hidden_size': WIDTH, 'intermediate_size': WIDTH,
        'num_hidden_layers': 1, 'num_attention_heads': 1,
        'num_key_value_heads': 1, 'max_position_embeddings': 64,
        'rms_norm_eps': 1e-5, 'vocab_size': vocab,
        'tie_word_embeddings': True, 'torch_dtype': 'float16'})
    layer = 'model.layers.0.'
    shapes = {'model.embed_tokens': [vocab, WIDTH], 'model.norm': [WIDTH]}
    for norm in ('input_layernorm', 'post_attention_layernorm'):
        shapes[layer + norm] = [WIDTH]
    for part in ('self_attn.q', 'self_attn.k', 'self_attn.v', 'self_attn.o',
                 'mlp.gate', 'mlp.up', 'mlp.down'):
        shapes[f'{layer}{part}_proj'] = [WIDTH, WIDTH]
    items = {}
    for module, shape in shapes.items():
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        items[f'{module}.weight'] = ('F16', shape, bytes(2 * n))
    golden.write_tensors(folder / 'model.safetensors', items)


def write_adapter(folder):
    """A change of nothing, for the merge that carries files over."""
    folder.mkdir()
    golden.save(folder / 'adapter_config.json',
                {'peft_type': 'LORA', 'r': 1, 'lora_alpha': 1,
                 'target_modules': ['q_proj']})
    name = 'base_model.model.model.layers.0.self_attn.q_proj.lora_'
    row = struct.pack(f'<{WIDTH}f', *([0.0] * WIDTH))
    golden.write_tensors(folder / 'adapter_model.safetensors', {
        f'{name}A.weight': ('F32', [1, WIDTH], row),
        f'{name}B.weight': ('F32', [WIDTH, 1], row)})


def compare(what, rows, key, got, differs=()):
    failed = 0
    for row, ids in zip(rows, got):
        if (ids != row[key]) != (row['text'] in differs):
            print(f'{what}: {json.dumps(row["text"])}: {ids}, not {row[key]}')
            failed = 1
    return failed


def check_family(tools, clients, scratch, name):
    rows = golden.rows(name)
    texts = [row['text'] for row in rows]
    model = scratch / name
    adapter = scratch / f'{name}-adapter'
    merged = scratch / f'{name}-merged'
    file = scratch / f'{name}.gguf'
    write_model(model, name)
    write_adapter(adapter)
    client.tool(tools, 'qlora-export', 'gguf', '--model', model, '--output',
                file, '--quiet')
    client.tool(tools, 'qlora-export', 'merge', '--model', model, '--adapter',
                adapter, '--output', merged, '--quiet', '--no-compare')
    answer = clients.llama(file, tokenize=texts)
    failed = compare(f'{name}, llama.cpp', rows, 'ids', answer['ids'],
                     DIFFERS.get(name, ()))
    carried = clients.tokenizer(merged / 'tokenizer.json', texts)
    failed |= compare(f'{name}, tokenizers', rows, 'ids_with_special', carried)
    config = golden.load(model / 'tokenizer_config.json')
    if answer['template'] != config.get('chat_template'):
        print(f'{name}: the chat template did not arrive')
        failed = 1
    print(f'{name}: {len(rows)} texts; bos {answer["bos"]}, eos '
          f'{answer["eos"]}')
    for folder in (model, merged):
        shutil.rmtree(folder)
    return failed


def tests(tools, clients, scratch):
    failed = 0
    for name in ('llama2', 'llama3-instruct', 'qwen3', 'gpt2', 'gemma3'):
        failed |= check_family(tools, clients, pathlib.Path(scratch), name)
    return failed


if __name__ == '__main__':
    sys.exit(client.main(tests))
