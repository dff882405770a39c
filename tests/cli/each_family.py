#!/usr/bin/env python3
"""each_family.py: for every architecture of the golden data, quantize the
model, train it in each way with an evaluation before and after, and write with
what came out: an adapter beside 4 bits, one beside the weights as they are,
the model itself. What is trained learns its data."""
import json
import os
import pathlib
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import round_trip  # noqa: E402  (beside this file)
from round_trip import run  # noqa: E402

STEPS = 8
WAYS = (('qlora', 'nf4'), ('lora', 'model'), ('full', 'model'))


def train(method, model):
    """Loss of evaluation, before and after."""
    shutil.rmtree('out', ignore_errors=True)
    rate = '3e-3' if method == 'full' else '2e-2'
    said = run('qlora-train', '--model', model, '--data', 'data.jsonl',
               '--eval-data', 'eval.jsonl', '--method', method, '--output',
               'out', '--max-length', 48, '--max-steps', STEPS,
               '--gradient-accumulation-steps', 1, '--learning-rate', rate,
               '--lora-dropout' if method != 'full' else '--weight-decay', 0,
               '--quiet', '--json')
    losses = [json.loads(line)['eval_loss'] for line in said.splitlines()
              if '"eval_loss"' in line]
    if len(losses) < 2 or not losses[-1] < 0.9 * losses[0]:
        raise RuntimeError(f'{model}, {method}: evaluation losses {losses}')
    return losses


def write(method, model):
    more = ('--model', 'out', '--no-quantize') if method == 'full' else (
        '--model', model, '--adapter', 'out',
        *(() if method == 'qlora' else ('--no-quantize',)))
    text = run('qlora-generate', *more, '--prompt', 'the cat', '--temperature',
               0, '--max-new-tokens', 8, '--quiet')
    if not text.strip():
        raise RuntimeError(f'{model}, {method}: no text')


def family(source):
    for folder in ('model', 'nf4'):
        shutil.rmtree(folder, ignore_errors=True)
    round_trip.toy.golden(source.name, 'model')
    run('qlora-quantize', '--quiet', 'model', 'nf4')
    for method, model in WAYS:
        first, *_, last = train(method, model)
        write(method, model)
        print(f'{source.name}, {method}: {first:.3f} -> {last:.3f}')


def main():
    golden = pathlib.Path(os.environ['QL_SHARED']) / 'golden' / 'models'
    if not golden.exists():
        print('SKIP: there is no golden data')
        return 77
    for name, n in (('data.jsonl', 12), ('eval.jsonl', 3)):
        with open(name, 'w', encoding='utf-8') as f:
            for i in range(n):
                f.write('{"text": "a bird is in the tree, the cat is %s it."}\n'
                        % ('on', 'by', 'at')[i % 3])
    families = 0
    for source in sorted(golden.iterdir()):
        if not source.name.startswith('bert'):
            family(source)
            families += 1
    return families < 15


if __name__ == '__main__':
    sys.exit(main())
