#!/usr/bin/env python3
"""round_trip.py: for every architecture of the golden data, train an adapter,
merge it, load the result and write: the same text at temperature 0 as from the
model with the adapter beside it, and another one than without."""
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


def text_of(model, *more):
    return run('qlora-generate', '--model', model, '--prompt', PROMPT,
               '--temperature', 0, '--max-new-tokens', 32, '--compute',
               'fp32', '--quiet', *more)


def round_trip(model, method, more):
    """Whether the adapter changed the text, which must be the merged one."""
    dense = () if method == 'qlora' else ('--no-quantize',)
    for folder in ('adapter', 'merged'):
        shutil.rmtree(folder, ignore_errors=True)
    run('qlora-train', '--model', model, '--data', 'data.jsonl', '--method',
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
    model.mkdir()
    for name in ('config.json', 'model.safetensors'):
        shutil.copyfile(source / name, model / name)
    weights = model / 'model.safetensors'
    for name, (_, shape, _) in toy.tensors(weights).items():
        if name.endswith('attn.c_attn.weight'):  # the data lack its bias
            toy.zeros(weights, name.replace('.weight', '.bias'), 'F32',
                      shape[1])
    toy.write_json(model / 'tokenizer.json', toy.tokenizer(0)[1])
    toy.write_json(model / 'tokenizer_config.json',
                   {'bos_token': '<s>', 'eos_token': '</s>'})
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
    changed = []
    for source in sorted(golden.iterdir()):
        if not source.name.startswith('bert'):
            model = copy_model(source)
            changed += [round_trip(model, *method) for method in METHODS]
    print(f'{len(changed)} round trips, {sum(changed)} with another text')
    return len(changed) < 30 or sum(changed) < 0.8 * len(changed)


if __name__ == '__main__':
    sys.exit(main())
