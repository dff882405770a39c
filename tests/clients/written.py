#!/usr/bin/env python3
"""Every file of weights that our commands write, as Hugging Face's own client
of its hub reads it: adapters, models that were trained, merged ones, and those
in 4 bits, of which the hub counts as many weights as before, and whose numbers
are the nearest ones of bitsandbytes' codes."""
import bisect
import json
import os
import pathlib
import subprocess
import sys

import client
import shards

MARK = '.quant_state.bitsandbytes__nf4'


def check_headers(clients, folder, path=None):
    """What the hub's client says of a folder is what the specification says
    of its files. Returns it, and how many weights the hub counts."""
    answer = clients.ask('hub.mjs', {'folder': str(folder), 'path': path})
    found = {}
    for name, header in answer['headers'].items():
        header.pop('__metadata__', None)
        tensors = shards.read(folder / name)
        assert sorted(header) == sorted(tensors), (folder, name)
        for tensor, (dtype, shape, data) in tensors.items():
            entry = header[tensor]
            begin, end = entry['data_offsets']
            assert (entry['dtype'], entry['shape']) == (dtype, shape), tensor
            assert end - begin == len(data), tensor
        found.update(tensors)
    return found, answer['parameters']


def absmax_of(found, name, state):
    """Of each block, as bitsandbytes has it."""
    codes = found[f'{name}.absmax'][2]
    table = shards.numbers(found[f'{name}.nested_quant_map'])
    scale = shards.numbers(found[f'{name}.nested_absmax'])
    return [table[c] * scale[i // state['nested_blocksize']] +
            state['nested_offset'] for i, c in enumerate(codes)]


def check_matrix(found, name, before):
    """Codes are the nearest ones; double quantization keeps the largest number
    of a block to a hundredth of the largest of all."""
    state = json.loads(found[name + MARK][2])
    table = shards.numbers(found[f'{name}.quant_map'])
    middles = [(a + b) / 2 for a, b in zip(table, table[1:])]
    exact, packed = shards.numbers(before), found[name][2]
    size = state['blocksize']
    assert state['shape'] == before[1], name
    tops = [max(map(abs, exact[i:i + size]))
            for i in range(0, len(exact), size)]
    for i, x in enumerate(exact):
        code = packed[i // 2] >> 4 if i % 2 == 0 else packed[i // 2] & 15
        at = x / tops[i // size]
        assert code == bisect.bisect_left(middles, at) or \
            min(abs(at - m) for m in middles) < 1e-6, (name, i)
    for got, top in zip(absmax_of(found, name, state), tops):
        assert abs(got - top) < 0.01 * max(tops), (name, got, top)


def check_bits(found, before):
    names = [n[:-len(MARK)] for n in found if n.endswith(MARK)]
    assert len(names) == 14, names
    for name in names:
        check_matrix(found, name, before[name])
    for name, tensor in before.items():
        assert name in names or found[name] == tensor, name
    print(f'{len(names)} matrices in 4 bits, the others as they were')


def write_all(tools, model, scratch):
    data = scratch / 'data.jsonl'
    data.write_text('{"text": "the sun is hot"}\n' * 4, encoding='utf-8')
    train = ['--data', data, '--max-steps', 2, '--save-steps', 1, '--quiet',
             '--gradient-accumulation-steps', 1, '--max-length', 32]
    client.tool(tools, 'qlora-quantize', model, scratch / 'nf4', '--quiet')
    client.tool(tools, 'qlora-train', '--model', scratch / 'nf4', '--output',
                scratch / 'adapter', *train)
    client.tool(tools, 'qlora-train', '--model', model, '--method', 'full',
                '--output', scratch / 'full', *train)
    for kind, size in (('f32', '5GB'), ('bf16', '20000'), ('f16', '5GB')):
        client.tool(tools, 'qlora-export', 'merge', '--model', model,
                    '--adapter', scratch / 'adapter', '--output',
                    scratch / kind, '--type', kind, '--max-shard-size', size,
                    '--quiet')


def tests(tools, clients, scratch):
    model = scratch / 'model'
    toy = pathlib.Path(os.environ['QL_SOURCE']) / 'tests' / 'cli' / 'toy.py'
    subprocess.run([sys.executable, toy, 'model', model], check=True)
    write_all(tools, model, scratch)
    before, weights = check_headers(clients, model)
    for name in ('full', 'f32', 'bf16', 'f16', 'nf4'):
        found, count = check_headers(clients, scratch / name)
        print(f'{name}: {len(found)} tensors, {count} weights')
        if count != weights:
            print(f'{name}: not {weights} weights')
            return 1
        if name == 'nf4':
            check_bits(found, before)
    for part in ('', 'checkpoint-1', 'checkpoint-2'):
        found, _ = check_headers(clients, scratch / 'adapter' / part,
                                 'adapter_model.safetensors')
        assert len(found) == 28, len(found)
    return 0


if __name__ == '__main__':
    sys.exit(client.main(tests))
