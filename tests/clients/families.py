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

# Small tokenizers of the families that have no real one here; and tokens that
# llama.cpp takes for granted in what is called so.
SMALL = ('phi3_rstrip', 'gpt_neox_ws', 'smollm2_digits')
GRANTED = {'phi3_rstrip': '<|endoftext|>'}

# Texts in which llama.cpp differs: it takes "<s>" and "</s>" for special
# tokens, and puts no character in its normal form.
TAGS = '<s>[INST] hi [/INST] ok</s>'
DIFFERS = {
    'llama2': (TAGS,),
    'qwen3': (TAGS, 'cafe\u0301 (NFD) vs caf\u00e9 (NFC)'),
    'gpt_neox_ws': ('Cafe\u0301 e\u0301 A\u030a \ufb01 \u00bd \u2163 \u2460',),
}


def files_of(name):
    """The files of a tokenizer, and what the real library makes of texts."""
    if name not in SMALL:
        folder = golden.shared() / 'tokenizers' / name
        return {f.name: f for f in folder.iterdir()}, golden.rows(name)
    folder = golden.shared() / 'golden' / 'tokenizers'
    texts = golden.load(folder / '_inputs.json')
    cases = golden.load(folder / '_expected.json')[name]['cases']
    return {'tokenizer.json': folder / f'{name}.json'}, [
        {'text': text, 'ids': case['ids'],
         'ids_with_special': case['ids_special']}
        for text, case in zip(texts, cases)]


def grant(file, name, scratch):
    """The tokenizer, with one more token where it is taken for granted."""
    if name not in GRANTED:
        return file
    tokenizer = golden.load(file)
    tokenizer['added_tokens'].append({
        'id': 1 + max(t['id'] for t in tokenizer['added_tokens']),
        'content': GRANTED[name], 'single_word': False, 'lstrip': False,
        'rstrip': False, 'normalized': False, 'special': True})
    golden.save(scratch / 'granted.json', tokenizer)
    return scratch / 'granted.json'


def write_zeros(folder, vocab):
    """A Llama of one layer, all zeros, without a tokenizer."""
    folder.mkdir()
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


def write_model(folder, files):
    """The same around a tokenizer."""
    tokenizer = golden.load(files['tokenizer.json'])
    top = max([*tokenizer['model']['vocab'].values(),
               *(t['id'] for t in tokenizer['added_tokens'])])
    write_zeros(folder, (top + 1 + 31) // 32 * 32)
    for to, file in files.items():
        shutil.copyfile(file, folder / to)


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
    files, rows = files_of(name)
    rows = [r for r in rows if GRANTED.get(name, '\0') not in r['text']]
    texts = [row['text'] for row in rows]
    model = scratch / name
    files['tokenizer.json'] = grant(files['tokenizer.json'], name, scratch)
    adapter = scratch / f'{name}-adapter'
    merged = scratch / f'{name}-merged'
    file = scratch / f'{name}.gguf'
    write_model(model, files)
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
    config = model / 'tokenizer_config.json'
    template = (golden.load(config).get('chat_template')
                if config.exists() else None)
    if answer['template'] != template:
        print(f'{name}: the chat template did not arrive')
        failed = 1
    print(f'{name}: {len(rows)} texts; bos {answer["bos"]}, eos '
          f'{answer["eos"]}')
    for folder in (model, merged):
        shutil.rmtree(folder)
    return failed


def tests(tools, clients, scratch):
    failed = 0
    for name in ('llama2', 'llama3-instruct', 'qwen3', 'gpt2', 'gemma3',
                 *SMALL):
        failed |= check_family(tools, clients, pathlib.Path(scratch), name)
    return failed


if __name__ == '__main__':
    sys.exit(client.main(tests))
