#!/usr/bin/env python3
"""round_trip.py: for every architecture of the golden data, train an adapter,
merge it, load the result and write: the same text at temperature 0 as from the
model with the adapter beside it, and another one than without. In 16 bits the
merged model is only as near as rounding has it, which the command sees."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import toy  # noqa: E402  (beside this file)

PROMPT = 'the cat and a'
STEPS = 8
# How to train, and the type of the model and of what it is merged into.
WAYS = (('lora', (), 'F32'),
        ('qlora', ('--use-dora', '--use-rslora', '--quant-type', 'fp4',
                   '--no-double-quant'), 'F32'),
        ('lora', (), 'BF16'))


def run(*command):
    done = subprocess.run(list(map(str, command)), check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(f'{command}: {done.stderr.decode()}')
    return done.stdout.decode()


def written_by(model, *more):
    return run('qlora-generate', '--model', model, '--prompt', PROMPT,
               '--temperature', 0, '--max-new-tokens', 32, '--compute',
               'fp32', '--quiet', *more)


def classes_of(model, *more):
    """Likelihoods of the classes of a classifier."""
    row = json.loads(run('qlora-generate', '--model', model, '--prompt',
                         PROMPT, '--json', '--compute', 'fp32', *more))
    return Near(row['scores'].values())


class Near(tuple):
    """Numbers that are equal where they are close."""

    def __eq__(self, other):
        return (len(self) == len(other) and
                all(abs(a - b) < 1e-5 for a, b in zip(self, other)))

    def __ne__(self, other):
        return not self == other

    __hash__ = tuple.__hash__


def merge(model, dtype):
    """By its exit code, too, the command says that the result is what it was
    made of."""
    kind = 'auto' if dtype == 'BF16' else 'f32'
    told = json.loads(run(
        'qlora-export', 'merge', '--model', model, '--adapter', 'adapter',
        '--output', 'merged', '--type', kind, '--compute', 'fp32', '--quiet',
        '--json'))
    if not told['compared'] or not told['merged']:
        raise RuntimeError(f'{model}: {told}')
    types = {t[0] for t in toy.tensors('merged/model.safetensors').values()}
    if types != {dtype}:
        raise RuntimeError(f'{model}: {types}, not {dtype}')


def round_trip(model, method, more, dtype):
    """The adapter changes the text, or the likelihoods of classes, which are
    those of the merged model, too. What the adapter was trained on is known
    from run.yaml."""
    dense = () if method == 'qlora' else ('--no-quantize',)
    classifier = model.name.startswith('bert')
    data = 'labelled.jsonl' if classifier else 'data.jsonl'
    text_of = classes_of if classifier else written_by
    for folder in ('adapter', 'merged'):
        shutil.rmtree(folder, ignore_errors=True)
    run('qlora-train', '--model', model, '--data', data, '--method',
        method, '--output', 'adapter', '--max-length', 48, '--max-steps', STEPS,
        '--gradient-accumulation-steps', 1, '--learning-rate', '2e-2',
        '--compute', 'fp32', '--quiet', *more)
    merge(model, dtype)
    plain = text_of(model, *dense)
    beside = text_of(model, '--adapter', 'adapter')
    merged = text_of('merged', '--no-quantize')
    what = f'{model}, {method} {more}, {dtype}'
    if dtype == 'F32' and beside != merged:
        raise RuntimeError(f'{what}: {beside!r} with the adapter, {merged!r} '
                           'merged')
    if plain in (beside, merged):
        raise RuntimeError(f'{what}: the adapter changes nothing: {plain!r}')


def models_of(source):
    """The same model in each type."""
    for dtype in ('F32', 'BF16'):
        model = pathlib.Path(f'{source.name}-{dtype}')
        toy.golden(source.name, model)
        toy.cast(model, dtype)
        yield dtype, model


def main():
    golden = pathlib.Path(os.environ['QL_SHARED']) / 'golden' / 'models'
    if not golden.exists():
        print('SKIP: there is no golden data')
        return 77
    with open('data.jsonl', 'w', encoding='utf-8') as f:
        for i in range(12):
            f.write('{"text": "a bird is in the tree, the cat is %s it."}\n' %
                    ('on', 'by', 'at')[i % 3])
    with open('labelled.jsonl', 'w', encoding='utf-8') as f:
        for i in range(12):
            f.write('{"text": "the cat is %s it", "label": %d}\n' %
                    (('on', 'by', 'at')[i % 3], i % 3))
    n = 0
    for source in sorted(golden.iterdir()):
        models = dict(models_of(source))
        for method, more, dtype in WAYS:
            round_trip(models[dtype], method, more, dtype)
            n += 1
    print(f'{n} round trips')
    return n < 54


if __name__ == '__main__':
    sys.exit(main())
