"""Reference data, and small folders made of it."""
import json
import os
import pathlib
import struct


def shared():
    return pathlib.Path(os.environ['QL_SHARED'])


def rows(name):
    """[{"text", "ids", "ids_with_special"}] of a tokenizer."""
    path = shared() / 'tokenizers' / 'golden' / f'{name}.jsonl'
    with open(path, encoding='utf-8') as f:
        return [json.loads(line) for line in f]


def load(path):
    with open(path, encoding='utf-8') as f:
        return json.load(f)


def save(path, value):
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(value, f)


def tensors(path):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    data = pathlib.Path(path).read_bytes()
    n, = struct.unpack('<Q', data[:8])
    header = json.loads(data[8:8 + n])
    header.pop('__metadata__', None)
    body = data[8 + n:]
    return {name: (t['dtype'], t['shape'],
                   body[t['data_offsets'][0]:t['data_offsets'][1]])
            for name, t in header.items()}


def floats(tensor):
    """Numbers of an F32 or F64 tensor."""
    dtype, _, data = tensor
    code, size = {'F32': ('f', 4), 'F64': ('d', 8), 'I64': ('q', 8),
                  'I32': ('i', 4)}[dtype]
    return struct.unpack(f'<{len(data) // size}{code}', data)


def write_tensors(path, items):
    """items: {name: (dtype, shape, bytes)}"""
    header, offset = {}, 0
    for name, (dtype, shape, data) in items.items():
        header[name] = {'dtype': dtype, 'shape': shape,
                        'data_offsets': [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text)
        for _, _, data in items.values():
            f.write(data)
