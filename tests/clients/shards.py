#!/usr/bin/env python3
"""What qlora-export merge writes, read by a reader of its own that is made
after the specification alone: the rules of the format, the index, and each
number against W + scale B A in double."""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import client

SIZES = {'F32': 4, 'BF16': 2, 'F16': 2, 'U8': 1}


def read(path):
    """{name: (dtype, shape, bytes)}; fails where a rule is broken."""
    data = pathlib.Path(path).read_bytes()
    n, = struct.unpack('<Q', data[:8])
    assert n % 8 == 0 and n <= 100_000_000 and 8 + n <= len(data)
    text = data[8:8 + n].decode('utf-8')
    assert text.startswith('{')
    header = json.loads(text)
    for key, value in header.pop('__metadata__', {}).items():
        assert isinstance(key, str) and isinstance(value, str)
    at, found = 0, {}
    order = sorted(header, key=lambda name: header[name]['data_offsets'])
    for name in order:
        entry = header[name]
        assert sorted(entry) == ['data_offsets', 'dtype', 'shape']
        begin, end = entry['data_offsets']
        size = SIZES[entry['dtype']]
        for extent in entry['shape']:
            assert isinstance(extent, int) and extent >= 0
            size *= extent
        assert begin == at and end - begin == size
        at = end
        found[name] = (entry['dtype'], entry['shape'],
                       data[8 + n + begin:8 + n + end])
    assert 8 + n + at == len(data)
    return found


def read_folder(folder):
    index = folder / 'model.safetensors.index.json'
    if not index.exists():
        return read(folder / 'model.safetensors')
    files = json.loads(index.read_text(encoding='utf-8'))
    found, total = {}, 0
    for name in sorted(set(files['weight_map'].values())):
        for tensor, value in read(folder / name).items():
            assert files['weight_map'].pop(tensor) == name
            found[tensor] = value
            total += len(value[2])
    assert not files['weight_map']
    assert files['metadata']['total_size'] == total
    return found


def numbers(tensor):
    dtype, _, data = tensor
    n = len(data) // SIZES[dtype]
    if dtype == 'BF16':
        wide = bytearray(4 * n)
        wide[2::4], wide[3::4] = data[0::2], data[1::2]
        return struct.unpack(f'<{n}f', wide)
    return struct.unpack(f'<{n}{"f" if dtype == "F32" else "e"}', data)


def merged(w, a, b, scale):
    """W + scale B A, row by row, in double."""
    _, (out, width), _ = w
    rank = a[1][0]
    w, a, b = numbers(w), numbers(a), numbers(b)
    for i in range(out):
        for j in range(width):
            delta = sum(b[i * rank + k] * a[k * width + j]
                        for k in range(rank))
            yield w[i * width + j] + scale * delta


def check(folder, model, adapter, scale, dtype, step):
    """step: the largest relative error of a number of this type."""
    before = read_folder(model)
    pairs = read(adapter / 'adapter_model.safetensors')
    after = read_folder(folder)
    assert sorted(before) == sorted(after)
    changed = 0
    for name, tensor in after.items():
        assert tensor[0] == dtype and tensor[1] == before[name][1], name
        stem = 'base_model.model.' + name[:-len('.weight')]
        got = numbers(tensor)
        if f'{stem}.lora_A.weight' in pairs:
            want = merged(before[name], pairs[f'{stem}.lora_A.weight'],
                          pairs[f'{stem}.lora_B.weight'], scale)
            changed += 1
        else:
            want = numbers(before[name])
        for i, (x, y) in enumerate(zip(got, want)):
            assert abs(x - y) <= step * abs(y) + 1e-7, (name, i, x, y)
    assert 2 * changed == len(pairs)
    return len(after)


def tests(tools, source):
    toy = source / 'tests' / 'cli' / 'toy.py'
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        model, adapter = scratch / 'm', scratch / 'a'
        subprocess.run([sys.executable, toy, 'model', model], check=True)
        data = scratch / 'data.jsonl'
        data.write_text('{"text": "the sun is hot"}\n' * 4, encoding='utf-8')
        client.tool(tools, 'qlora-train', '--model', model, '--data', data,
                    '--output', adapter, '--max-steps', 3, '--lora-r', 4,
                    '--learning-rate', '1e-1', '--warmup-steps', 1,
                    '--gradient-accumulation-steps', 1, '--quiet')
        scale = 32 / 4
        for kind, dtype, step in (('f32', 'F32', 2e-7), ('bf16', 'BF16', 2**-8),
                                  ('f16', 'F16', 2**-11)):
            for size in ('5GB', '20000'):
                out = scratch / f'{kind}-{size}'
                client.tool(tools, 'qlora-export', 'merge', '--model', model,
                            '--adapter', adapter, '--output', out, '--base',
                            'original', '--type', kind, '--max-shard-size',
                            size, '--no-compare', '--quiet')
                n = check(out, model, adapter, scale, dtype, step)
                print(f'{kind}, shards of {size}: {n} tensors as computed')
    return 0


if __name__ == '__main__':
    sys.exit(tests(pathlib.Path(sys.argv[1]), client.HERE.parent.parent))
