#!/usr/bin/env python3
"""llama.cpp computes, from our GGUF files of the golden models, the logits of
transformers, with our GGUF adapters those of PEFT, and with adapters that we
train, norms of Gemma included, what we do with them."""
import json
import shutil
import sys

import client
import golden

# How many tokens of a text llama.cpp computes as transformers does, where it
# is known to differ beyond: it leaves windows out, has its own factors of
# attention in Gemma, and other layers without positions in SmolLM 3. The
# command tells so.
SAME = {'mistral_swa4': 4, 'gemma2': 1, 'gemma3_text': 1, 'smollm3_nope': 1,
        'phi3': 5, 'phi4mini_partial_rotary': 12}
# Of these the golden files lack a bias: llama.cpp is held to what we write.
LACKING = ('gpt2',)
MODELS = ('llama2', 'llama3_gqa_tied_rope31', 'llama_linear_rope_bias_headdim',
          'llama_yarn', 'mistral_swa4', 'qwen2', 'qwen3', 'gemma1', 'gemma2',
          'gemma3_text', 'olmo2', 'smollm3_nope', 'phi3', 'phi3_longrope_long',
          'phi3_longrope_short', 'phi4mini_partial_rotary', 'gpt2', 'gpt_neox')
# What norms multiply by is 1 + w in these, which llama.cpp has as it is; with
# such settings it computes them as transformers does.
PLUS_ONE = {
    'gemma1': {},
    'gemma2': {'query_pre_attn_scalar': 32, 'sliding_window': 64},
    'gemma3_text': {'query_pre_attn_scalar': 32, 'sliding_window': 64,
                    'layer_types': 3 * ['sliding_attention']}}
VOCAB = 128
TOKENS = 10

# Which factors of rope these take goes in llama.cpp by the room for a text, and
# in transformers by its length.
ROPES = ('phi3_longrope_long', 'phi3_longrope_short')

# llama.cpp has no contexts so short that it would take the short factors of
# this one: what is left to compare is the token that has no position.
SHORT = 'phi3_longrope_short'


def write_tokenizer(folder):
    """One token a letter, or byte, for all rows that the models have."""
    letters = [chr(33 + i) for i in range(94)]
    letters += [chr(0xa1 + i) for i in range(12)]
    letters += [chr(0xae + i) for i in range(18)]
    vocab = {token: i for i, token in enumerate(
        ['<pad>', '<s>', '</s>', '!"', *letters])}
    golden.save(folder / 'tokenizer.json', {
        'version': '1.0', 'normalizer': None, 'post_processor': None,
        'added_tokens': [{'id': i, 'content': token, 'special': True,
                          'single_word': False, 'lstrip': False,
                          'rstrip': False, 'normalized': False}
                         for i, token in enumerate(('<pad>', '<s>', '</s>'))],
        'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': False,
                          'trim_offsets': True, 'use_regex': True},
        'decoder': {'type': 'ByteLevel', 'add_prefix_space': False,
                    'trim_offsets': True, 'use_regex': True},
        'model': {'type': 'BPE', 'vocab': vocab, 'merges': ['! "']}})
    golden.save(folder / 'tokenizer_config.json',
                {'bos_token': '<s>', 'eos_token': '</s>'})


def rows_of(tensor, rows, cols, first=0):
    x = golden.floats(tensor)
    return [x[(first + i) * cols:(first + i + 1) * cols] for i in range(rows)]


def compare(what, got, want, same):
    """The first tokens agree to a thousandth of what logits span."""
    span = max(map(max, want)) - min(map(min, want))
    worst = 0
    for i in range(min(same, len(want))):
        worst = max(worst, max(abs(a - b) for a, b in zip(got[i], want[i])))
    good = worst <= 1e-3 * span
    print(f'{what}: logits differ by at most {worst:.2g} of {span:.3g}, '
          f'{min(same, len(want))} tokens{"" if good else ": FAILED"}')
    return not good


def add_biases(folder):
    """The biases of GPT-2 that are missing, all zero."""
    file = folder / 'model.safetensors'
    items = golden.tensors(file)
    for name in list(items):
        if name.endswith('.attn.c_attn.weight'):
            _, (_, out), _ = items[name]
            items[name[:-len('weight')] + 'bias'] = ('F32', [out],
                                                     bytes(4 * out))
    file.unlink()
    golden.write_tensors(file, items)


def check_text(tools, clients, folder, adapter, plain, adapted):
    """llama.cpp writes what we write, token by token, without and with an
    adapter, which changes it; plain and adapted: its files."""
    failed = 0
    seen = []
    for more, (file, *lora) in (((), plain),
                                (('--adapter', adapter), adapted)):
        answer = clients.llama(file, *lora, texts=['Hello'],
                               **{'continue': TOKENS})
        row = json.loads(client.tool(
            tools, 'qlora-generate', '--model', folder, '--no-quantize',
            '--compute', 'fp32', '--temperature', 0, '--max-new-tokens',
            TOKENS, '--prompt', '<s>Hello', '--json', *more))
        good = (answer['prompts'][0] == row['prompt_token_ids'] and
                answer['written'][0] == row['token_ids'])
        print(f'{folder.name}: {row["token_ids"]} '
              f'{"by both" if good else "but llama.cpp: "}'
              f'{"" if good else answer["written"][0]}')
        failed |= not good
        seen.append(row['token_ids'])
    return failed or seen[0] == seen[1] or not seen[0]


def check_trained(tools, clients, scratch, name, folder, file):
    """An adapter that we train. llama.cpp computes with the pair beside what it
    does with the model that it is merged into, and not what it did without; and
    it writes what we write, unless it has another idea of the model."""
    adapter = scratch / f'{name}-trained'
    pair = scratch / f'{name}-trained.gguf'
    merged = scratch / f'{name}-trained-merged.gguf'
    client.tool(tools, 'qlora-train', '--model', folder, '--data',
                scratch / 'data.jsonl', '--method', 'lora', '--output', adapter,
                '--max-length', 48, '--max-steps', 8, '--quiet',
                '--gradient-accumulation-steps', 1, '--learning-rate', '2e-2',
                '--compute', 'fp32')
    client.tool(tools, 'qlora-export', 'gguf-adapter', '--model', folder,
                '--adapter', adapter, '--output', pair, '--quiet')
    client.tool(tools, 'qlora-export', 'gguf', '--model', folder, '--adapter',
                adapter, '--type', 'f32', '--output', merged, '--quiet')
    ids = list(range(3, 15))
    want = clients.llama(merged, logits=[ids])['logits'][0]
    got = clients.llama(file, pair, logits=[ids])['logits'][0]
    failed = compare(f'{name}, trained, beside and merged', got, want, len(ids))
    if got == clients.llama(file, logits=[ids])['logits'][0]:
        print(f'{name}: the trained adapter changes nothing')
        failed = 1
    if name in SAME or name in ROPES:
        return failed
    return failed | check_text(tools, clients, folder, adapter, (file,),
                               (file, pair))


def check_norms(tools, clients, scratch, name, folder):
    """Norms that are trained with an adapter: in the model that it is merged
    into, llama.cpp writes what we write, and not what it did without."""
    plus = scratch / f'{name}-norms-toy'
    adapter = scratch / f'{name}-norms'
    file = scratch / f'{name}-norms.gguf'
    merged = scratch / f'{name}-norms-merged.gguf'
    shutil.copytree(folder, plus)
    golden.save(plus / 'config.json', {**golden.load(folder / 'config.json'),
                                       **PLUS_ONE[name]})
    client.tool(tools, 'qlora-train', '--model', plus, '--data',
                scratch / 'data.jsonl', '--method', 'lora', '--output', adapter,
                '--max-length', 48, '--max-steps', 16, '--quiet',
                '--gradient-accumulation-steps', 1, '--learning-rate', '5e-2',
                '--compute', 'fp32', '--modules-to-save', 'norm',
                '--lr-scheduler-type', 'constant')
    for to, more in ((file, ()), (merged, ('--adapter', adapter))):
        client.tool(tools, 'qlora-export', 'gguf', '--model', plus, '--type',
                    'f32', '--output', to, '--quiet', *more)
    return check_text(tools, clients, plus, adapter, (file,), (merged,))


def check_lacking(tools, clients, scratch, name, folder, file):
    """The adapter of a model of which the golden data lack something: the
    text, and the logits of the model that it is merged into."""
    adapter = golden.shared() / 'golden' / 'gguf' / name
    pair = scratch / f'{name}-adapter.gguf'
    merged = scratch / f'{name}-merged.gguf'
    client.tool(tools, 'qlora-export', 'gguf-adapter', '--model', folder,
                '--adapter', adapter, '--output', pair)
    client.tool(tools, 'qlora-export', 'gguf', '--model', folder, '--adapter',
                adapter, '--base', 'original', '--type', 'f32', '--output',
                merged, '--quiet')
    ids = list(range(3, 15))
    want = clients.llama(merged, logits=[ids])['logits'][0]
    got = clients.llama(file, pair, logits=[ids])['logits'][0]
    failed = compare(f'{name}, adapter beside and merged', got, want, len(ids))
    return failed | check_text(tools, clients, folder, adapter, (file,),
                               (file, pair))


def check_model(tools, clients, scratch, name):
    source = golden.shared() / 'golden' / 'models' / name
    # llama.cpp looks for tokens of Phi 3 in what is called so
    folder = scratch / 'toy'
    shutil.rmtree(folder, ignore_errors=True)
    file = scratch / f'{name}.gguf'
    pair = scratch / f'{name}-adapter.gguf'
    same = 1 if name == SHORT else SAME.get(name, 99)
    folder.mkdir()
    for part in ('config.json', 'model.safetensors'):
        shutil.copyfile(source / part, folder / part)
    write_tokenizer(folder)
    if name in LACKING:
        add_biases(folder)
    said = client.notes(tools, 'qlora-export', 'gguf', '--model', folder,
                        '--output', file, '--type', 'f32')
    failed = check_trained(tools, clients, scratch, name, folder, file)
    if name in PLUS_ONE:
        failed |= check_norms(tools, clients, scratch, name, folder)
    if name in LACKING:
        return failed | check_lacking(tools, clients, scratch, name, folder,
                                      file)
    if ('will differ' in said) != (SAME.get(name, 99) < 12):
        print(f'{name}: notes: {said!r}')
        failed = 1
    wanted = golden.tensors(source / 'golden.safetensors')
    ids = list(golden.floats(wanted['input_ids'])[:12])
    plain = rows_of(wanted['logits_row0_nomask'], len(ids), VOCAB)
    got = clients.llama(file, logits=[ids])['logits'][0]
    failed |= compare(name, got, plain, same)
    adapter = golden.shared() / 'golden' / 'gguf' / name
    if not adapter.exists():
        return failed
    client.tool(tools, 'qlora-export', 'gguf-adapter', '--model', folder,
                '--adapter', adapter, '--output', pair)
    lora = golden.tensors(source / 'lora.safetensors')
    adapted = rows_of(lora['logits'], len(ids), VOCAB)
    if adapted == plain:
        print(f'{name}: the adapter changes nothing')
        failed = 1
    got = clients.llama(file, pair, logits=[ids])['logits'][0]
    return failed | compare(f'{name} and adapter', got, adapted, same)


def tests(tools, clients, scratch):
    failed = 0
    with open(scratch / 'data.jsonl', 'w', encoding='utf-8') as f:
        for i in range(12):
            f.write('{"text": "Hello, a bird is in the tree %d."}\n' % i)
    for name in MODELS:
        failed |= check_model(tools, clients, scratch, name)
    return failed


if __name__ == '__main__':
    sys.exit(client.main(tests))
