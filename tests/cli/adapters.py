#!/usr/bin/env python3
"""adapters.py: every adapter of the golden data, in the folder of PEFT and in
that of MLX: qlora-generate writes the tokens that PEFT's own logits say, and
qlora-train goes on with it and saves it under the same names."""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import toy  # noqa: E402  (beside this file)

VOCAB = 128
LENGTH = 12  # of the first golden text
EOS = 2
KEPT = ('r', 'lora_alpha', 'rank_pattern', 'alpha_pattern', 'use_dora',
        'use_rslora', 'fan_in_fan_out', 'modules_to_save', 'bias',
        'layers_to_transform', 'task_type')
# Of these the golden data lack a bias, so there are no logits to compare with.
LACKING = ('gpt2',)
# The ropes of this one are those of the whole text.
BEGINNINGS = {'phi3_longrope_long': (LENGTH,)}
# Paths of MLX, where they are not those of the model's files.
MLX_PATHS = (('transformer.', 'model.'), ('gpt_neox.layers.', 'model.h.'),
             ('gpt_neox.', 'model.'), ('embed_out', 'model.embed_out'))


def run(*command):
    done = subprocess.run(list(map(str, command)), check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(f'{command}: {done.stderr.decode()}')
    return done.stdout.decode()


def letter(i):
    return chr(0x4e00 + i)


def write_data(path, end):
    """Two texts of the letters before end."""
    with open(path, 'w', encoding='utf-8') as f:
        for i in range(2):
            json.dump({'text': ''.join(map(letter, range(3 + i, end)))}, f)
            f.write('\n')


def copy_model(source, model):
    """The golden model with a tokenizer of one letter for each token."""
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir()
    for name in ('config.json', 'model.safetensors'):
        shutil.copyfile(source / name, model / name)
    weights = model / 'model.safetensors'
    for name, (_, shape, _) in toy.tensors(weights).items():
        if name.endswith('attn.c_attn.weight'):
            toy.zeros(weights, name.replace('.weight', '.bias'), 'F32',
                      shape[1])
    part = [{'Sequence': {'id': 'A', 'type_id': 0}}]
    toy.write_json(model / 'tokenizer.json', {
        'added_tokens': [{'id': EOS, 'content': letter(EOS), 'special': True,
                          'normalized': False}],
        'normalizer': None, 'pre_tokenizer': None,
        'post_processor': {
            'type': 'TemplateProcessing', 'single': part, 'special_tokens': {},
            'pair': part + [{'Sequence': {'id': 'B', 'type_id': 1}}]},
        'decoder': {'type': 'Fuse'},
        'model': {'type': 'BPE', 'merges': [],
                  'vocab': {letter(i): i for i in range(VOCAB)}}})
    toy.write_json(model / 'tokenizer_config.json',
                   {'eos_token': letter(EOS)})


def numbers(tensor):
    dtype, _, data = tensor
    code, size = {'F32': ('f', 4), 'F64': ('d', 8), 'I64': ('q', 8)}[dtype]
    return struct.unpack(f'<{len(data) // size}{code}', data)


def saved_name(name):
    """As PEFT saves what it calls so in the training."""
    name = name.replace('.modules_to_save.', '.')
    return name.replace('lora_magnitude_vector.weight',
                        'lora_magnitude_vector')


def write_peft(folder, tensors, config):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    toy.save(folder / 'adapter_model.safetensors', tensors)
    toy.write_json(folder / 'adapter_config.json', config)


def turned(tensor):
    dtype, (rows, cols), data = tensor
    x = [data[i:i + 4] for i in range(0, len(data), 4)]
    return dtype, [cols, rows], b''.join(
        x[r * cols + c] for c in range(cols) for r in range(rows))


def mlx_name(name):
    name = name[len('base_model.model.'):]
    for ours, theirs in MLX_PATHS:
        if name.startswith(ours):
            name = theirs + name[len(ours):]
            break
    for peft, mlx in (('.lora_embedding_A', '.lora_a'),
                      ('.lora_embedding_B', '.lora_b'),
                      ('.lora_A.weight', '.lora_a'),
                      ('.lora_B.weight', '.lora_b'),
                      ('.lora_magnitude_vector', '.m')):
        if name.endswith(peft):
            return name[:-len(peft)] + mlx
    return None


def write_mlx(folder, tensors, config):
    """The same adapter as MLX has it; False where MLX cannot have it."""
    names = {name: mlx_name(name) for name in tensors}
    if None in names.values() or config['rank_pattern'] or \
            config['alpha_pattern']:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    toy.save(folder / 'adapters.safetensors', {
        names[name]: turned(t) if len(t[1]) == 2 else t
        for name, t in tensors.items()})
    root = config['r'] ** (0.5 if config['use_rslora'] else 1)
    toy.write_json(folder / 'adapter_config.json', {
        'fine_tune_type': 'dora' if config['use_dora'] else 'lora',
        'num_layers': 2, 'lora_parameters': {
            'rank': config['r'], 'scale': config['lora_alpha'] / root,
            'dropout': 0.0}})
    return True


def generate(model, ids, *more):
    return json.loads(run(
        'qlora-generate', '--model', model, '--no-quantize', '--compute',
        'fp32', '--temperature', 0, '--json', '--quiet', '--prompt',
        ''.join(map(letter, ids)), *more))


def check_tokens(model, adapter, ids, logits, beginnings):
    """Behind beginnings of the text, the most likely token."""
    for n in beginnings:
        row = logits[(n - 1) * VOCAB:n * VOCAB]
        best = max(range(VOCAB), key=row.__getitem__)
        got = generate(model, ids[:n], '--adapter', adapter,
                       '--max-new-tokens', 1)
        assert got['prompt_token_ids'] == list(ids[:n]), got
        want = [] if best == EOS else [best]
        if got['token_ids'] != want:
            raise RuntimeError(f'{model}, {adapter}: behind {n} tokens '
                               f'{got["token_ids"]}, not {want}')


def check_classes(model, adapter, golden, logits):
    """Shares of the classes, of a text whose second part is of type 1."""
    ids = numbers(golden['input_ids'])[:LENGTH]
    types = numbers(golden['token_type_ids'])[:LENGTH]
    n = sum(numbers(golden['attention_mask'])[:LENGTH])
    first = sum(t == 0 for t in types[:n])
    most = max(logits)
    shares = [2.718281828459045 ** (x - most) for x in logits]
    pair = ['--text-pair', ''.join(map(letter, ids[first:n]))]
    got = generate(model, ids[:first], '--adapter', adapter,
                   *(pair if first < n else []))
    assert len(got['scores']) == len(shares), (got, shares)
    for share, (name, x) in zip(shares, got['scores'].items()):
        assert abs(x - share / sum(shares)) < 1e-4, (name, got, shares)


def check_training(model, adapter, tensors, config):
    """A step that is too small to be seen gives the adapter back."""
    shutil.rmtree('trained', ignore_errors=True)
    run('qlora-train', '--model', model, '--adapter', adapter, '--data',
        'data.jsonl', '--method', 'lora', '--output', 'trained', '--max-steps',
        1, '--max-length', 32, '--gradient-accumulation-steps', 1,
        '--learning-rate', '1e-30', '--compute', 'fp32', '--quiet')
    got = toy.tensors(pathlib.Path('trained') / 'adapter_model.safetensors')
    assert sorted(got) == sorted(tensors), (sorted(got), sorted(tensors))
    for name, tensor in tensors.items():
        assert got[name][:2] == tensor[:2], name
        assert all(abs(x - y) < 1e-20 for x, y in
                   zip(numbers(got[name]), numbers(tensor))), name
    with open('trained/adapter_config.json', encoding='utf-8') as f:
        saved = json.load(f)
    for key in KEPT if config else ():
        assert (saved.get(key) or None) == (config.get(key) or None), key
    if config:
        assert sorted(saved['target_modules']) == \
            sorted(config['target_modules'])


def check_adapter(source, model, variant):
    """One adapter of a golden model, in both folders. Returns how many."""
    golden = toy.tensors(source / 'golden.safetensors')
    lora = toy.tensors(source / f'{variant}.safetensors')
    with open(source / f'{variant}.json', encoding='utf-8') as f:
        told = json.load(f)
    config = told['adapter_config']
    tensors = {saved_name(name[len('init.'):]): t for name, t in lora.items()
               if name.startswith('init.')}
    want = {name: shape for name, shape in told['adapter_tensor_names'].items()
            if '.base_layer.' not in name}
    assert {name: t[1] for name, t in tensors.items()} == want, variant
    write_peft(pathlib.Path('peft'), tensors, config)
    folders = [('peft', config)]
    if write_mlx(pathlib.Path('mlx'), tensors, config):
        folders.append(('mlx', None))
    written = (source.parent.parent / 'gguf' /
               (source.name + variant[len('lora'):]))
    if written.exists():
        assert toy.tensors(written / 'adapter_model.safetensors') == tensors
        folders.append((written, config))
    logits = numbers(lora['logits'])
    for folder, known in folders:
        if source.name == 'bert_cls':
            check_classes(model, folder, golden, logits[:3])
        elif source.name not in LACKING:
            check_tokens(model, folder, numbers(golden['input_ids'])[:LENGTH],
                         logits, BEGINNINGS.get(source.name, (1, 5, 8, LENGTH)))
        if source.name != 'bert_cls':
            check_training(model, folder, tensors, known)
    print(f'{source.name}, {variant}: {[str(f) for f, _ in folders]}')
    return len(folders)


def check_shared(source, model):
    """MLX's change of an embedding that is the head, too, and that of PEFT
    which is to be so, are what the merged model does; they are not trained."""
    copy_model(source, model)
    width = 64
    x = [((i * 37) % 101 - 50) / 150 for i in range(4 * VOCAB)]
    tensors = {
        'base_model.model.model.embed_tokens.lora_embedding_A':
            ('F32', [4, VOCAB], struct.pack(f'<{4 * VOCAB}f', *x)),
        'base_model.model.model.embed_tokens.lora_embedding_B':
            ('F32', [width, 4], struct.pack(f'<{4 * width}f', *x[:4 * width]))}
    config = {'peft_type': 'LORA', 'r': 4, 'lora_alpha': 8, 'use_dora': False,
              'use_rslora': False, 'rank_pattern': {}, 'alpha_pattern': {},
              'target_modules': ['embed_tokens'], 'ensure_weight_tying': True}
    write_peft(pathlib.Path('peft'), tensors, config)
    write_peft(pathlib.Path('apart'), tensors,
               {**config, 'ensure_weight_tying': False})
    assert write_mlx(pathlib.Path('mlx'), tensors, config)
    ids = range(3, 9)
    seen = []
    for adapter in ('peft', 'mlx', 'apart'):
        shutil.rmtree('merged', ignore_errors=True)
        run('qlora-export', 'merge', '--model', model, '--adapter', adapter,
            '--output', 'merged', '--type', 'f32', '--base', 'original',
            '--quiet', '--no-compare')
        beside = generate(model, ids, '--adapter', adapter,
                          '--max-new-tokens', 40)
        merged = generate('merged', ids, '--max-new-tokens', 40)
        assert beside['token_ids'] == merged['token_ids'], adapter
        seen.append(beside['token_ids'])
    assert seen[0] == seen[1] != seen[2], seen
    for adapter in ('peft', 'mlx'):
        refused(adapter, 'are one matrix', lambda: check_training(
            model, adapter, tensors, None))


def random(n, seed):
    return struct.pack(f'<{n}f', *(((i * 53 + seed) % 103 - 51) / 100
                                   for i in range(n)))


def check_biases(source, model, module):
    """An adapter beside which all biases were trained, as PEFT saves it: the
    merged model, and not that of the pairs alone; it is not trained on."""
    copy_model(source, model)
    head = 'base_model.model.'
    pairs, biases = {}, {}
    for name, (_, shape, _) in toy.tensors(model / 'model.safetensors').items():
        path, leaf = name.rsplit('.', 1)
        if leaf == 'bias' and path.endswith(module):
            biases[f'{head}{path}.base_layer.bias'] = (
                'F32', shape, random(shape[0], 7))
            pairs[f'{head}{path}.lora_A.weight'] = (
                'F32', [4, 64], random(4 * 64, 1))
            pairs[f'{head}{path}.lora_B.weight'] = (
                'F32', [shape[0], 4], random(4 * shape[0], 2))
        elif leaf == 'bias':
            biases[f'{head}{name}'] = ('F32', shape, random(shape[0], 5))
    config = {'peft_type': 'LORA', 'r': 4, 'lora_alpha': 1, 'bias': 'all',
              'target_modules': [module],
              'fan_in_fan_out': source.name == 'gpt2'}
    write_peft(pathlib.Path('peft'), {**pairs, **biases}, config)
    write_peft(pathlib.Path('pairs'), pairs, config)
    shutil.rmtree('merged', ignore_errors=True)
    run('qlora-export', 'merge', '--model', model, '--adapter', 'peft',
        '--output', 'merged', '--type', 'f32', '--base', 'original', '--quiet',
        '--no-compare')
    ids = range(3, 9)
    more = '--max-new-tokens', 40
    beside = generate(model, ids, '--adapter', 'peft', *more)['token_ids']
    apart = generate(model, ids, '--adapter', 'pairs', *more)['token_ids']
    merged = generate('merged', ids, *more)['token_ids']
    assert beside == merged != apart, (beside, merged, apart)
    refused('peft', 'changes biases', lambda: check_training(
        model, 'peft', {**pairs, **biases}, None))
    print(f'{source.name}: {len(biases)} biases')


def check_wholes(source, model):
    """Norms and learned positions, trained whole beside pairs, by settings that
    name modules of other models, too: the merged model; and trained on. Returns
    whether it writes what the pairs alone do not: some models go on with one
    token, whatever their norms."""
    copy_model(source, model)
    all_tensors = toy.tensors(model / 'model.safetensors')
    head = 'base_model.model.'
    wholes, leaves = {}, set()
    for name, (_, shape, _) in all_tensors.items():
        path, leaf = name.rsplit('.', 1)
        if leaf == 'weight' and (len(shape) == 1 or path.endswith('.wpe')):
            leaves.add(path.rsplit('.', 1)[1])
            n = shape[0] * (shape[1] if len(shape) > 1 else 1)
            wholes[head + name] = ('F32', shape, random(n, 3))
            if f'{path}.bias' in all_tensors:
                wholes[f'{head}{path}.bias'] = ('F32', shape, random(n, 4))
    module = next(n for n in sorted(all_tensors) if n.endswith(
        ('q_proj.weight', 'qkv_proj.weight', 'c_attn.weight',
         'query_key_value.weight')))[:-len('.weight')]
    shape = all_tensors[f'{module}.weight'][1]
    out, width = reversed(shape) if source.name == 'gpt2' else shape
    pairs = {
        f'{head}{module}.lora_A.weight': ('F32', [4, width],
                                          random(4 * width, 1)),
        f'{head}{module}.lora_B.weight': ('F32', [out, 4],
                                          random(4 * out, 2))}
    config = {'peft_type': 'LORA', 'r': 4, 'lora_alpha': 1,
              'target_modules': [module, 'w_other'],
              'modules_to_save': [*sorted(leaves), 'other'],
              'fan_in_fan_out': source.name == 'gpt2', 'bias': 'none',
              'task_type': 'CAUSAL_LM'}
    write_peft(pathlib.Path('peft'), {**pairs, **wholes}, config)
    write_peft(pathlib.Path('pairs'), pairs, {**config,
                                              'modules_to_save': None})
    shutil.rmtree('merged', ignore_errors=True)
    told = json.loads(run(
        'qlora-export', 'merge', '--model', model, '--adapter', 'peft',
        '--output', 'merged', '--type', 'f32', '--base', 'original', '--quiet',
        '--json'))
    assert told['compared'] and told['max_logit_difference'] < 1e-4, told
    ids = range(3, 9)
    more = '--max-new-tokens', 40
    beside = generate(model, ids, '--adapter', 'peft', *more)['token_ids']
    apart = generate(model, ids, '--adapter', 'pairs', *more)['token_ids']
    merged = generate('merged', ids, *more)['token_ids']
    assert beside == merged, (beside, merged)
    check_training(model, 'peft', {**pairs, **wholes}, config)
    print(f'{source.name}: {len(wholes)} vectors')
    return beside != apart


def check_scales(source, model):
    """Ranks and scales are told as they are, whatever the settings call
    them."""
    copy_model(source, model)
    for variant, ranks, scales in (('lora', '4', '2'),
                                   ('lora_rslora', '4', '4'),
                                   ('lora_patterns', '2 to 8', '1 to 8')):
        lora = toy.tensors(source / f'{variant}.safetensors')
        with open(source / f'{variant}.json', encoding='utf-8') as f:
            config = json.load(f)['adapter_config']
        tensors = {saved_name(name[len('init.'):]): t
                   for name, t in lora.items() if name.startswith('init.')}
        write_peft(pathlib.Path('peft'), tensors, config)
        folders = ['peft']
        if write_mlx(pathlib.Path('mlx'), tensors, config):
            folders.append('mlx')
        for folder in folders:
            done = subprocess.run(
                ['qlora-generate', '--model', model, '--adapter', folder,
                 '--prompt', letter(5), '--max-new-tokens', '1'], check=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            want = f'adapter: 14 pairs, rank {ranks}, scale {scales}\n'
            assert want in done.stderr.decode(), (want, done.stderr)


def check_base(source, model):
    """Embeddings that were others when the adapter was trained are seen."""
    copy_model(source, model)
    head = 'base_model.model.model.embed_tokens.'
    embed = toy.tensors(model / 'model.safetensors')[
        'model.embed_tokens.weight']
    tensors = {
        head + 'lora_embedding_A': ('F32', [4, VOCAB], random(4 * VOCAB, 1)),
        head + 'lora_embedding_B': ('F32', [64, 4], random(4 * 64, 2)),
        head + 'base_layer.weight': embed}
    config = {'peft_type': 'LORA', 'r': 4, 'lora_alpha': 1,
              'target_modules': ['embed_tokens']}
    write_peft(pathlib.Path('peft'), tensors, config)
    generate(model, [5], '--adapter', 'peft', '--max-new-tokens', 1)
    dtype, shape, data = embed
    tensors[head + 'base_layer.weight'] = (dtype, shape, data[4:] + data[:4])
    write_peft(pathlib.Path('peft'), tensors, config)
    refused('peft', 'were changed before the training', lambda: generate(
        model, [5], '--adapter', 'peft', '--max-new-tokens', 1))
    more = VOCAB + 1
    write_peft(pathlib.Path('peft'), {
        head + 'lora_embedding_A': ('F32', [4, more], random(4 * more, 1)),
        head + 'lora_embedding_B': tensors[head + 'lora_embedding_B']}, config)
    refused('peft', 'another vocabulary', lambda: generate(
        model, [5], '--adapter', 'peft', '--max-new-tokens', 1))


def check_best(source, model, *more):
    """What a run ends with is the adapter that it keeps, with its norms."""
    copy_model(source, model)
    shutil.rmtree('trained', ignore_errors=True)
    write_data('longer.jsonl', 40)
    run('qlora-train', '--model', model, '--method', 'lora', '--data',
        'longer.jsonl', '--eval-data', 'longer.jsonl', '--output', 'trained',
        '--lora-r', 4, '--modules-to-save', 'norm,layernorm',
        '--learning-rate', 2, '--lr-scheduler-type', 'constant',
        '--warmup-steps', 0, '--eval-steps', 1, '--max-steps', 2,
        '--sample-prompts', 2, '--compute', 'fp32', '--quiet', *more)
    with open('trained/trainer_state.json', encoding='utf-8') as f:
        kept = json.load(f)['best_global_step']
    with open('trained/samples.json', encoding='utf-8') as f:
        samples = json.load(f)['samples']
    assert kept == 1 and len(samples) == 2, (kept, samples)
    for sample in samples:
        after = sample['after'].removesuffix(' \u2026')
        got = generate(model, [ord(c) - 0x4e00 for c in sample['prompt']],
                       '--adapter', 'trained', '--max-new-tokens', len(after))
        assert ''.join(map(letter, got['token_ids'])) == after, (sample, got)


def refused(what, why, call):
    try:
        call()
    except RuntimeError as e:
        assert why in str(e), e
    else:
        raise RuntimeError(f'{what} was not refused')


def main():
    golden = pathlib.Path(os.environ['QL_SHARED']) / 'golden' / 'models'
    if not golden.exists():
        print('SKIP: there is no golden data')
        return 77
    write_data('data.jsonl', 15)
    model = pathlib.Path('model')
    n = others = 0
    for source in sorted(golden.iterdir()):
        copy_model(source, model)
        for file in sorted(source.glob('lora*.json')):
            n += check_adapter(source, model, file.stem)
        if source.name != 'bert_cls':
            others += check_wholes(source, model)
    for name, module in (('qwen2', 'q_proj'), ('gpt2', 'c_attn'),
                         ('gpt_neox', 'query_key_value')):
        check_biases(golden / name, model, module)
    check_scales(golden / 'llama2', model)
    check_base(golden / 'llama2', model)
    check_shared(golden / 'llama3_gqa_tied_rope31', model)
    for more in ((), ('--use-dora',), ('--init-lora-weights', 'pissa')):
        check_best(golden / 'gemma2', model, *more)
    print(f'{n} folders, {others} with norms of their own')
    return n < 40 or others < 12


if __name__ == '__main__':
    sys.exit(main())
