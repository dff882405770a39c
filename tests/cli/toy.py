#!/usr/bin/env python3
"""Writes a tiny Llama folder, and damages it in ways that files get damaged.

    toy.py model DIR [dtype=BF16] [hidden=64] [layers=2] [extra=0]
    toy.py set FILE.json KEY.KEY VALUE      VALUE is JSON; "-" removes the key
    toy.py cut FILE BYTES                   keeps the first BYTES; < 0: drops
    toy.py flip FILE BIT                    turns one bit over
    toy.py length FILE N                    the length a safetensors promises
    toy.py header FILE TENSOR KEY VALUE     edits the header, not the data
    toy.py drop FILE TENSOR                 rewrites the file without it
    toy.py zeros FILE TENSOR DTYPE ROWS...  rewrites it with such zeros
    toy.py poke FILE TENSOR INDEX VALUE     one element: nan, inf, 1.5
    toy.py shards DIR                       two files and an index
    toy.py deep N                           prints a record nested N deep

The same arguments give the same bytes. extra=N adds N words to the tokenizer
for which the model has no row.
"""
import json
import os
import random
import struct
import sys

BYTES = {'BF16': 2, 'F16': 2, 'F32': 4, 'F64': 8, 'I8': 1, 'U8': 1}
PIECES = '\u2581abcdefghijklmnopqrstuvwxyz.,:?!\nUA'


def pack(dtype, values):
    code = 'e' if dtype == 'F16' else 'f'
    data = struct.pack('<%d%s' % (len(values), code), *values)
    if dtype != 'BF16':
        return data
    upper = bytearray(2 * len(values))
    upper[0::2], upper[1::2] = data[2::4], data[3::4]
    return bytes(upper)


def read(path):
    """header: {name: entry}, and the data."""
    with open(path, 'rb') as f:
        n, = struct.unpack('<Q', f.read(8))
        header = json.loads(f.read(n))
        return header, f.read()


def write(path, header, data):
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + data)


def tensors(path):
    """{name: (dtype, shape, bytes)} in the file's order."""
    header, data = read(path)
    return {name: (e['dtype'], e['shape'],
                   data[e['data_offsets'][0]:e['data_offsets'][1]])
            for name, e in header.items() if name != '__metadata__'}


def save(path, all_tensors):
    header, data = {'__metadata__': {'format': 'pt'}}, b''
    for name, (dtype, shape, part) in all_tensors.items():
        header[name] = {'dtype': dtype, 'shape': shape,
                        'data_offsets': [len(data), len(data) + len(part)]}
        data += part
    write(path, header, data)


def weights(hidden, layers, vocab):
    ffn = 2 * hidden
    shapes = {'model.embed_tokens.weight': [vocab, hidden]}
    for i in range(layers):
        at = f'model.layers.{i}.'
        shapes[at + 'input_layernorm.weight'] = [hidden]
        shapes[at + 'post_attention_layernorm.weight'] = [hidden]
        for name, out, width in (
                ('self_attn.q_proj', hidden, hidden),
                ('self_attn.k_proj', hidden // 2, hidden),
                ('self_attn.v_proj', hidden // 2, hidden),
                ('self_attn.o_proj', hidden, hidden),
                ('mlp.gate_proj', ffn, hidden), ('mlp.up_proj', ffn, hidden),
                ('mlp.down_proj', hidden, ffn)):
            shapes[f'{at}{name}.weight'] = [out, width]
    shapes['model.norm.weight'] = [hidden]
    return shapes


def write_json(path, value):
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(value, f, indent=1)


def tokenizer(extra):
    names = ['<unk>', '<s>', '</s>'] + list(PIECES)
    names += ['\u2581a', '\u2581b', 'th'] + [chr(0x4e00 + i)
                                             for i in range(extra)]
    special = [{'id': i, 'content': names[i], 'special': True,
                'normalized': False} for i in range(3)]
    return len(names) - extra, {
        'added_tokens': special,
        'normalizer': {'type': 'Sequence', 'normalizers': [
            {'type': 'Prepend', 'prepend': '\u2581'},
            {'type': 'Replace', 'pattern': {'String': ' '},
             'content': '\u2581'}]},
        'pre_tokenizer': None,
        'post_processor': {
            'type': 'TemplateProcessing', 'pair': [],
            'single': [{'SpecialToken': {'id': '<s>', 'type_id': 0}},
                       {'Sequence': {'id': 'A', 'type_id': 0}}],
            'special_tokens': {'<s>': {'id': '<s>', 'ids': [1]}}},
        'decoder': {'type': 'Sequence', 'decoders': [
            {'type': 'Replace', 'pattern': {'String': '\u2581'},
             'content': ' '}, {'type': 'Fuse'}]},
        'model': {'type': 'BPE', 'unk_token': '<unk>', 'fuse_unk': True,
                  'byte_fallback': False,
                  'vocab': {name: i for i, name in enumerate(names)},
                  'merges': ['\u2581 a', '\u2581 b', 't h']}}


def model(folder, *options):
    o = {'dtype': 'BF16', 'hidden': '64', 'layers': '2', 'extra': '0'}
    o.update(option.split('=', 1) for option in options)
    hidden, layers = int(o['hidden']), int(o['layers'])
    vocab, tokens = tokenizer(int(o['extra']))
    rng = random.Random(1)
    parts = {}
    for name, shape in weights(hidden, layers, vocab).items():
        n = shape[0] * (shape[1] if len(shape) == 2 else 1)
        values = [1.0] * n
        if len(shape) == 2:
            few = [rng.uniform(-0.1, 0.1) for _ in range(min(n, 4099))]
            values = (few * (n // len(few) + 1))[:n]
        parts[name] = (o['dtype'], shape, pack(o['dtype'], values))
    os.makedirs(folder, exist_ok=True)
    save(os.path.join(folder, 'model.safetensors'), parts)
    write_json(os.path.join(folder, 'tokenizer.json'), tokens)
    write_json(os.path.join(folder, 'tokenizer_config.json'),
               {'bos_token': '<s>', 'eos_token': '</s>'})
    write_json(os.path.join(folder, 'config.json'), {
        'model_type': 'llama', 'num_hidden_layers': layers,
        'hidden_size': hidden, 'intermediate_size': 2 * hidden,
        'num_attention_heads': 4, 'num_key_value_heads': 2,
        'vocab_size': vocab, 'max_position_embeddings': 4096,
        'rms_norm_eps': 1e-5, 'tie_word_embeddings': True,
        'hidden_act': 'silu', 'torch_dtype': {
            'BF16': 'bfloat16', 'F16': 'float16', 'F32': 'float32'}[
                o['dtype']]})


def set_key(path, keys, value):
    with open(path, encoding='utf-8') as f:
        root = json.load(f)
    at = root
    *way, last = keys.split('.')
    for key in way:
        at = at[int(key)] if isinstance(at, list) else at[key]
    if value == '-':
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = json.loads(value)
    write_json(path, root)


def cut(path, size):
    size = int(size)
    os.truncate(path, size if size >= 0 else os.path.getsize(path) + size)


def flip(path, bit):
    with open(path, 'r+b') as f:
        f.seek(int(bit) // 8)
        byte, = f.read(1)
        f.seek(int(bit) // 8)
        f.write(bytes([byte ^ 1 << int(bit) % 8]))


def length(path, n):
    with open(path, 'r+b') as f:
        f.write(struct.pack('<Q', int(n)))


def edit_header(path, name, key, value):
    header, data = read(path)
    header[name][key] = json.loads(value)
    write(path, header, data)


def drop(path, name):
    parts = tensors(path)
    del parts[name]
    save(path, parts)


def zeros(path, name, dtype, *shape):
    parts = tensors(path)
    shape = [int(n) for n in shape]
    n = shape[0] * (shape[1] if len(shape) == 2 else 1)
    parts[name] = (dtype, shape, bytes(n * BYTES[dtype]))
    save(path, parts)


def poke(path, name, index, value):
    parts = tensors(path)
    dtype, shape, data = parts[name]
    at = int(index) * BYTES[dtype]
    part = pack(dtype, [float(value)])
    parts[name] = (dtype, shape, data[:at] + part + data[at + len(part):])
    save(path, parts)


def shards(folder):
    path = os.path.join(folder, 'model.safetensors')
    names = ['model-00001-of-00002.safetensors',
             'model-00002-of-00002.safetensors']
    parts = list(tensors(path).items())
    half = len(parts) // 2
    weight_map = {}
    for name, some in zip(names, (parts[:half], parts[half:])):
        save(os.path.join(folder, name), dict(some))
        weight_map.update((key, name) for key, _ in some)
    os.remove(path)
    write_json(path + '.index.json', {'metadata': {}, 'weight_map': weight_map})


def deep(n):
    print('{"text": "a b", "more": ' + '[' * int(n) + ']' * int(n) + '}')


COMMANDS = {'model': model, 'set': set_key, 'cut': cut, 'flip': flip,
            'length': length, 'header': edit_header, 'drop': drop,
            'zeros': zeros, 'poke': poke, 'shards': shards, 'deep': deep}


def main(argv):
    if len(argv) < 2 or argv[1] not in COMMANDS:
        print(__doc__)
        return 2
    COMMANDS[argv[1]](*argv[2:])
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
