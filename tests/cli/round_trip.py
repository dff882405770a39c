#!/usr/bin/env python3
"""round_trip.py: for every architecture of the golden data, train an adapter,
merge it, load the result and write: the same text at temperature 0 as from the
model with the adapter beside it, and another one than without."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import toy  # noqa: E402  (beside this file)

PROMPT = 'the cat and a'
METHODS = (('lora', ()), ('qlora', ('--use-dora',)))


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


def round_trip(model, method, more):
    """Whether the adapter changed the text, or the likelihoods of classes,
    which must be those of the merged model."""
    dense = () if method == 'qlora' else ('--no-quantize',)
    classifier = model.name.startswith('bert')
    data = 'labelled.jsonl' if classifier else 'data.jsonl'
    text_of = classes_of if classifier else written_by
    for folder in ('adapter', 'merged'):
        shutil.rmtree(folder, ignore_errors=True)
    run('qlora-train', '--model', model, '--data', data, '--method',
        method, '--output', 'adapter', '--max-length', 48, '--max-steps', 6,
        '--gradient-accumulation-steps', 1, '--learning-rate', '2e-2',
        '--compute', 'fp32', '--quiet', *more)
    run('qlora-export', 'merge', '--model', model, '--adapter', 'adapter',
        '--output', 'merged', '--type', 'f32', '--no-compare', '--quiet')
    plain = text_of(model, *dense)
    beside = text_of(model, '--adapter', 'adapter', *dense)
    merged = text_of('merged', '--no-quantize')
    if beside != merged:
        raise RuntimeError(f'{model}, {method}: {beside!r} with the adapter, '
                           f'{merged!r} merged')
    return beside != plain


def copy_model(source):
    model = pathlib.Path(source.name)
    toy.golden(source.name, model)
    return model


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
    changed = []
    for source in sorted(golden.iterdir()):
        model = copy_model(source)
        changed += [round_trip(model, *method) for method in METHODS]
    print(f'{len(changed)} round trips, {sum(changed)} with another text')
    return len(changed) < 36 or sum(changed) < 0.8 * len(changed)


if __name__ == '__main__':
    sys.exit(main())
