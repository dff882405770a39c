#!/usr/bin/env python3
"""llama.cpp and Hugging Face's tokenizers run our files of the small real
models: the same tokens, the same greedy continuations as ours token by token,
and a model with its adapter beside it is the merged one."""
import json
import os
import pathlib
import sys

import client
import golden

TOKENS = 64
PROMPTS = ('Once upon a time', 'Lily and Tom', 'The sun')

# llama.cpp keeps keys and values in F16: of what logits span.
CLOSE = 1e-3


def ours(tools, model, adapter, prompt):
    """Ids of the prompt and of what is written behind it."""
    more = ['--adapter', adapter] if adapter else []
    row = json.loads(client.tool(
        tools, 'qlora-generate', '--model', model, '--compute', 'fp32',
        '--temperature', 0, '--max-new-tokens', TOKENS, '--prompt', prompt,
        '--json', *more))
    return row['prompt_token_ids'], row['token_ids']


def check_ids(what, rows, key, got):
    failed = 0
    for row, ids in zip(rows, got):
        if ids != row[key]:
            print(f'{what}: {row["text"]!r}: {ids}, not {row[key]}')
            failed = 1
    return failed


def check_texts(what, answer, want):
    """What llama.cpp writes is want: [(prompt's ids, ids)]."""
    failed = 0
    for prompt, got, (read, written) in zip(answer['prompts'],
                                            answer['written'], want):
        if prompt != read or got != written or len(got) != TOKENS:
            print(f'{what}: {prompt} {got}\nnot {read} {written}')
            failed = 1
    return failed


def check_logits(what, got, want):
    rows = list(zip(got[0], want[0]))
    span = max(max(b) - min(b) for _, b in rows)
    worst = max(abs(x - y) for a, b in rows for x, y in zip(a, b))
    print(f'{what}: logits differ by at most {worst:.2g} of {span:.3g}')
    return worst > CLOSE * span


def make_files(tools, scratch, name):
    """An adapter that is trained and run on a model in 4 bits, and in GGUF:
    base, adapter, merged; and as a folder."""
    model = golden.shared() / 'models' / name
    demo = pathlib.Path(os.environ['QL_SOURCE']) / 'tools' / 'demo'
    adapter, base, pair, merged, folder = (
        scratch / f'{name}-{part}' for part in (
            'adapter', 'base.gguf', 'adapter.gguf', 'merged.gguf', 'merged'))
    export = ['--model', model, '--quiet']

    client.tool(tools, 'qlora-train', '--model', model, '--data',
                demo / 'plays.jsonl.gz', '--output', adapter, '--max-length',
                64, '--max-steps', 4, '--gradient-accumulation-steps', 1,
                '--learning-rate', '1e-2', '--quiet')
    client.tool(tools, 'qlora-export', 'gguf', *export, '--type', 'f32',
                '--base', 'dequantized', '--output', base)
    client.tool(tools, 'qlora-export', 'gguf-adapter', *export, '--adapter',
                adapter, '--output', pair)
    merge = ['--adapter', adapter, '--base', 'dequantized', '--type', 'f32']
    client.tool(tools, 'qlora-export', 'gguf', *export, *merge, '--output',
                merged)
    client.tool(tools, 'qlora-export', 'merge', *export, *merge, '--output',
                folder, '--no-compare')
    return model, adapter, base, pair, merged, folder


def check_model(tools, clients, scratch, name):
    rows = golden.rows(name)
    texts = [row['text'] for row in rows]
    model, adapter, base, pair, merged, folder = make_files(tools, scratch,
                                                            name)
    some = next(row['ids_with_special'][:8] for row in rows
                if len(row['ids']) >= 8)
    ask = {'texts': PROMPTS, 'continue': TOKENS, 'logits': [some]}
    plain = clients.llama(base, tokenize=texts, **ask)
    beside = clients.llama(base, pair, **ask)
    folded = clients.llama(merged, **ask)

    failed = check_ids(f'{name}, llama.cpp', rows, 'ids', plain['ids'])
    failed |= check_ids(f'{name}, tokenizers', rows, 'ids_with_special',
                        clients.tokenizer(folder / 'tokenizer.json', texts))
    before = [ours(tools, model, None, p) for p in PROMPTS]
    changed = [ours(tools, model, adapter, p) for p in PROMPTS]
    failed |= check_texts(name, plain, before)
    failed |= check_texts(f'{name} and adapter', beside, changed)
    failed |= check_texts(f'{name} merged', folded, changed)
    failed |= check_logits(f'{name}, merged and adapter', folded['logits'],
                           beside['logits'])
    if beside['written'] == plain['written']:
        print(f'{name}: the adapter changes nothing')
        failed = 1
    print(f'{name}: {len(rows)} texts tokenized twice, {3 * len(PROMPTS)} '
          f'continued by {TOKENS} tokens')
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
        want = want or got['written']
        if got['written'] != want:
            print(f'{name} {kind}: {got["written"]}, not {want}')
            failed = 1
    return failed


def tests(tools, clients, scratch):
    failed = check_types(tools, clients, scratch, 'stories3M')
    for name in ('stories260K', 'stories3M'):
        failed |= check_model(tools, clients, scratch, name)
    return failed


if __name__ == '__main__':
    sys.exit(client.main(tests))
