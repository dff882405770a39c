#!/usr/bin/env python3
"""llama.cpp runs our files of the small real models: the same tokens, the same
greedy continuations as ours, and a model with its adapter beside it writes
what the merged one writes."""
import os
import pathlib
import sys

import client
import golden

TOKENS = 64
PROMPTS = ('Once upon a time', 'Lily and Tom', 'The sun')


def ours(tools, model, adapter, prompt):
    more = ['--adapter', adapter] if adapter else []
    text = client.tool(tools, 'qlora-generate', '--model', model,
                       '--no-quantize', '--compute', 'fp32', '--temperature',
                       0, '--max-new-tokens', TOKENS, '--prompt', prompt,
                       *more)
    return text.rstrip('\n')


def check_tokens(name, answer, rows):
    failed = 0
    for row, ids in zip(rows, answer['ids']):
        if ids != row['ids']:
            print(f'{name}: {row["text"]!r}: {ids}, not {row["ids"]}')
            failed = 1
    return failed


def check_texts(what, prompts, got, want):
    failed = 0
    for prompt, a, b in zip(prompts, got, want):
        if (prompt + a).rstrip('\n') != b:
            print(f'{what}: {prompt + a!r}\nnot {b!r}')
            failed = 1
    return failed


def check_model(tools, clients, scratch, name):
    model = golden.shared() / 'models' / name
    rows = golden.rows(name)
    demo = pathlib.Path(os.environ['QL_SOURCE']) / 'tools' / 'demo'
    adapter = scratch / f'{name}-adapter'
    base = scratch / f'{name}.gguf'
    pair = scratch / f'{name}-adapter.gguf'
    merged = scratch / f'{name}-merged.gguf'
    export = ['--model', model, '--quiet']

    client.tool(tools, 'qlora-train', '--model', model, '--data',
                demo / 'plays.jsonl.gz', '--output', adapter, '--max-length',
                64, '--max-steps', 4, '--gradient-accumulation-steps', 1,
                '--learning-rate', '1e-2', '--quiet')
    client.tool(tools, 'qlora-export', 'gguf', *export, '--type', 'f32',
                '--output', base)
    client.tool(tools, 'qlora-export', 'gguf-adapter', *export, '--adapter',
                adapter, '--output', pair)
    client.tool(tools, 'qlora-export', 'gguf', *export, '--adapter', adapter,
                '--base', 'original', '--type', 'f32', '--output', merged)

    ask = {'texts': PROMPTS, 'continue': TOKENS}
    plain = clients.llama(base, tokenize=[r['text'] for r in rows], **ask)
    beside = clients.llama(base, pair, **ask)
    folded = clients.llama(merged, **ask)

    failed = check_tokens(name, plain, rows)
    failed |= check_texts(f'{name}', PROMPTS, plain['texts'],
                          [ours(tools, model, None, p) for p in PROMPTS])
    changed = [ours(tools, model, adapter, p) for p in PROMPTS]
    failed |= check_texts(f'{name} and adapter', PROMPTS, beside['texts'],
                          changed)
    failed |= check_texts(f'{name} merged', PROMPTS, folded['texts'], changed)
    if beside['texts'] == plain['texts']:
        print(f'{name}: the adapter changes nothing')
        failed = 1
    print(f'{name}: {len(rows)} texts tokenized, {3 * len(PROMPTS)} continued')
    return failed


def check_types(tools, clients, scratch, name):
    """Files in 16 and 8 bits begin the story as the exact one does."""
    model = golden.shared() / 'models' / name
    want = None
    failed = 0
    for kind in ('f32', 'bf16', 'f16', 'q8_0'):
        file = scratch / f'{name}-{kind}.gguf'
        client.tool(tools, 'qlora-export', 'gguf', '--model', model, '--type',
                    kind, '--output', file, '--quiet')
        got = clients.llama(file, texts=PROMPTS[:1], **{'continue': 12})
        want = want or got['texts']
        if got['texts'] != want:
            print(f'{name} {kind}: {got["texts"]}, not {want}')
            failed = 1
    return failed


def tests(tools, clients, scratch):
    failed = check_types(tools, clients, scratch, 'stories3M')
    for name in ('stories260K', 'stories3M'):
        failed |= check_model(tools, clients, scratch, name)
    return failed


if __name__ == '__main__':
    sys.exit(client.main(tests))
