#!/usr/bin/env python3
"""Writes a tiny Llama folder, and damages it in ways that files get damaged.

    toy.py model DIR [dtype=BF16] [hidden=64] [layers=2] [extra=0] [spare=0]
                     [family=llama]         or gemma2
    toy.py bert DIR [head=1]                a BERT that tells bad from good
    toy.py storage FILE DTYPE               packed 4-bit weights lie in such
    toy.py set FILE.json KEY.KEY VALUE      VALUE is JSON; "-" removes the key
    toy.py cut FILE BYTES                   keeps the first BYTES; < 0: drops
    toy.py flip FILE BIT                    turns one bit over
    toy.py length FILE N                    the length a safetensors promises
    toy.py header FILE TENSOR KEY VALUE     edits the header, not the data
    toy.py drop FILE TENSOR                 rewrites the file without it
    toy.py zeros FILE TENSOR DTYPE ROWS...  rewrites it with such zeros
    toy.py poke FILE TENSOR INDEX VALUE     one element: nan, inf, 1.5
    toy.py shards DIR                       two files and an index
    toy.py deep N                           prints a record nested N deep
    toy.py texts N WORDS [MORE]             prints N records of random words;
                                            MORE: prompts and completions

The same arguments give the same bytes. extra=N adds N words to the tokenizer
for which the model has no row; spare=N adds N rows to the model that no word
has.
"""
import json
import os
import random
import shutil
import struct
import sys

BYTES = {'BF16': 2, 'F16': 2, 'F32': 4, 'F64': 8, 'I8': 1, 'U8': 1}
PIECES = '\u2581abcdefghijklmnopqrstuvwxyz.,:?!\nUA'


def pack(dtype, values):
    code = 'e' if dtype == 'F16' else 'f'
    data = struct.pack('<%d%s' % (len(values), code), *values)
    if dtype != 'BF16':
        return data
    upper = bytearray(2 * len(values))
    upper[0::2], upper[1::2] = data[2::4], data[3::4]
    return bytes(upper)


def read(path):
    """header: {name: entry}, and the data."""
    with open(path, 'rb') as f:
        n, = struct.unpack('<Q', f.read(8))
        header = json.loads(f.read(n))
        return header, f.read()


def write(path, header, data):
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + data)


def tensors(path):
    """{name: (dtype, shape, bytes)} in the file's order."""
    header, data = read(path)
    return {name: (e['dtype'], e['shape'],
                   data[e['data_offsets'][0]:e['data_offsets'][1]])
            for name, e in header.items() if name != '__metadata__'}


def save(path, all_tensors):
    header, data = {'__metadata__': {'format': 'pt'}}, b''
    for name, (dtype, shape, part) in all_tensors.items():
        header[name] = {'dtype': dtype, 'shape': shape,
                        'data_offsets': [len(data), len(data) + len(part)]}
        data += part
    write(path, header, data)


def weights(hidden, layers, vocab, gemma):
    ffn = 2 * hidden
    shapes = {'model.embed_tokens.weight': [vocab, hidden]}
    for i in range(layers):
        at = f'model.layers.{i}.'
        shapes[at + 'input_layernorm.weight'] = [hidden]
        shapes[at + 'post_attention_layernorm.weight'] = [hidden]
        if gemma:
            shapes[at + 'pre_feedforward_layernorm.weight'] = [hidden]
            shapes[at + 'post_feedforward_layernorm.weight'] = [hidden]
        for name, out, width in (
                ('self_attn.q_proj', hidden, hidden),
                ('self_attn.k_proj', hidden // 2, hidden),
                ('self_attn.v_proj', hidden // 2, hidden),
                ('self_attn.o_proj', hidden, hidden),
                ('mlp.gate_proj', ffn, hidden), ('mlp.up_proj', ffn, hidden),
                ('mlp.down_proj', hidden, ffn)):
            shapes[f'{at}{name}.weight'] = [out, width]
    shapes['model.norm.weight'] = [hidden]
    return shapes


def write_json(path, value):
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(value, f, indent=1)


def tokenizer(extra):
    names = ['<unk>', '<s>', '</s>'] + list(PIECES)
    names += ['\u2581a', '\u2581b', 'th'] + [chr(0x4e00 + i)
                                             for i in range(extra)]
    special = [{'id': i, 'content': names[i], 'special': True,
                'normalized': False} for i in range(3)]
    return len(names) - extra, {
        'added_tokens': special,
        'normalizer': {'type': 'Sequence', 'normalizers': [
            {'type': 'Prepend', 'prepend': '\u2581'},
            {'type': 'Replace', 'pattern': {'String': ' '},
             'content': '\u2581'}]},
        'pre_tokenizer': None,
        'post_processor': {
            'type': 'TemplateProcessing', 'pair': [],
            'single': [{'SpecialToken': {'id': '<s>', 'type_id': 0}},
                       {'Sequence': {'id': 'A', 'type_id': 0}}],
            'special_tokens': {'<s>': {'id': '<s>', 'ids': [1]}}},
        'decoder': {'type': 'Sequence', 'decoders': [
            {'type': 'Replace', 'pattern': {'String': '\u2581'},
             'content': ' '}, {'type': 'Fuse'}]},
        'model': {'type': 'BPE', 'unk_token': '<unk>', 'fuse_unk': True,
                  'byte_fallback': False,
                  'vocab': {name: i for i, name in enumerate(names)},
                  'merges': ['\u2581 a', '\u2581 b', 't h']}}


def model(folder, *options):
    o = {'dtype': 'BF16', 'hidden': '64', 'layers': '2', 'extra': '0',
         'spare': '0', 'family': 'llama'}
    o.update(option.split('=', 1) for option in options)
    hidden, layers = int(o['hidden']), int(o['layers'])
    vocab, tokens = tokenizer(int(o['extra']))
    vocab += int(o['spare'])
    rng = random.Random(1)
    parts = {}
    gemma = o['family'] == 'gemma2'
    for name, shape in weights(hidden, layers, vocab, gemma).items():
        n = shape[0] * (shape[1] if len(shape) == 2 else 1)
        values = [1.0] * n
        if len(shape) == 2:
            few = [rng.uniform(-0.1, 0.1) for _ in range(min(n, 4099))]
            values = (few * (n // len(few) + 1))[:n]
        parts[name] = (o['dtype'], shape, pack(o['dtype'], values))
    os.makedirs(folder, exist_ok=True)
    save(os.path.join(folder, 'model.safetensors'), parts)
    write_json(os.path.join(folder, 'tokenizer.json'), tokens)
    write_json(os.path.join(folder, 'tokenizer_config.json'),
               {'bos_token': '<s>', 'eos_token': '</s>'})
    write_json(os.path.join(folder, 'config.json'), {
        'model_type': o['family'], 'num_hidden_layers': layers,
        'hidden_size': hidden, 'intermediate_size': 2 * hidden,
        'num_attention_heads': 4, 'num_key_value_heads': 2,
        'vocab_size': vocab, 'max_position_embeddings': 4096,
        'rms_norm_eps': 1e-5, 'tie_word_embeddings': True,
        **({'hidden_activation': 'gelu_pytorch_tanh', 'head_dim': hidden // 4}
           if gemma else {'hidden_act': 'silu'}), 'torch_dtype': {
            'BF16': 'bfloat16', 'F16': 'float16', 'F32': 'float32'}[
                o['dtype']]})


WORDS = ('the a film book was is and not very it dull bland grim fine great '
         'lovely so').split()


def bert_weights(hidden, vocab):
    def linear(path, out, width):
        return {path + '.weight': [out, width], path + '.bias': [out]}

    def norm(path):
        return {path + '.weight': [hidden], path + '.bias': [hidden]}

    at = 'bert.embeddings.'
    shapes = {at + 'word_embeddings.weight': [vocab, hidden],
              at + 'position_embeddings.weight': [32, hidden],
              at + 'token_type_embeddings.weight': [2, hidden],
              **norm(at + 'LayerNorm')}
    for i in range(2):
        at = f'bert.encoder.layer.{i}.'
        for name in ('query', 'key', 'value'):
            shapes.update(linear(f'{at}attention.self.{name}', hidden, hidden))
        shapes.update(linear(at + 'attention.output.dense', hidden, hidden))
        shapes.update(norm(at + 'attention.output.LayerNorm'))
        shapes.update(linear(at + 'intermediate.dense', 2 * hidden, hidden))
        shapes.update(linear(at + 'output.dense', hidden, 2 * hidden))
        shapes.update(norm(at + 'output.LayerNorm'))
    shapes.update(linear('bert.pooler.dense', hidden, hidden))
    shapes.update(linear('classifier', 2, hidden))
    return shapes


def bert(folder, *options):
    head = 'head=0' not in options
    names = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', *WORDS]
    rng = random.Random(3)
    parts = {}
    for name, shape in bert_weights(32, len(names)).items():
        n = shape[0] * (shape[1] if len(shape) == 2 else 1)
        values = [0.0 if name.endswith('.bias') else 1.0] * n
        if len(shape) == 2:
            values = [rng.uniform(-0.3, 0.3) for _ in range(n)]
        if head or not name.startswith('classifier'):
            parts[name] = ('F32', shape, pack('F32', values))
    os.makedirs(folder, exist_ok=True)
    save(os.path.join(folder, 'model.safetensors'), parts)
    write_json(os.path.join(folder, 'tokenizer.json'), {
        'added_tokens': [{'id': i, 'content': names[i], 'special': True,
                          'normalized': False} for i in range(4)],
        'normalizer': {'type': 'BertNormalizer', 'clean_text': True,
                       'handle_chinese_chars': True, 'strip_accents': None,
                       'lowercase': True},
        'pre_tokenizer': {'type': 'BertPreTokenizer'},
        'post_processor': {'type': 'BertProcessing', 'cls': ['[CLS]', 1],
                           'sep': ['[SEP]', 2]},
        'decoder': {'type': 'WordPiece', 'prefix': '##', 'cleanup': True},
        'model': {'type': 'WordPiece', 'unk_token': '[UNK]',
                  'continuing_subword_prefix': '##',
                  'max_input_chars_per_word': 100,
                  'vocab': {name: i for i, name in enumerate(names)}}})
    write_json(os.path.join(folder, 'tokenizer_config.json'),
               {'cls_token': '[CLS]', 'sep_token': '[SEP]',
                'pad_token': '[PAD]', 'unk_token': '[UNK]'})
    write_json(os.path.join(folder, 'config.json'), {
        'model_type': 'bert', 'num_hidden_layers': 2, 'hidden_size': 32,
        'architectures': ['BertForSequenceClassification'],
        'intermediate_size': 64, 'num_attention_heads': 2,
        'vocab_size': len(names), 'max_position_embeddings': 32,
        'hidden_act': 'gelu', 'type_vocab_size': 2, 'torch_dtype': 'float32',
        'id2label': {'0': 'bad', '1': 'good'},
        'label2id': {'bad': 0, 'good': 1}})


def golden(name, folder):
    """That reference model with a tokenizer."""
    source = os.path.join(os.environ['QL_SHARED'], 'golden', 'models', name)
    os.makedirs(folder, exist_ok=True)
    for part in ('config.json', 'model.safetensors'):
        shutil.copyfile(os.path.join(source, part), os.path.join(folder, part))
    weights_file = os.path.join(folder, 'model.safetensors')
    for weight, (_, shape, _) in tensors(weights_file).items():
        if weight.endswith('attn.c_attn.weight'):  # the data lack its bias
            zeros(weights_file, weight.replace('.weight', '.bias'), 'F32',
                  shape[1])
    write_json(os.path.join(folder, 'tokenizer.json'), tokenizer(0)[1])
    write_json(os.path.join(folder, 'tokenizer_config.json'),
               {'bos_token': '<s>', 'eos_token': '</s>'})


def cast(folder, dtype):
    """Numbers of F32 in that type."""
    path = os.path.join(folder, 'model.safetensors')
    parts = tensors(path)
    for name, (was, shape, data) in parts.items():
        if was == 'F32':
            values = struct.unpack('<%df' % (len(data) // 4), data)
            parts[name] = dtype, shape, pack(dtype, values)
    save(path, parts)


def storage(path, dtype):
    parts = tensors(path)
    packed = [name.split('.quant_state.')[0] for name in parts
              if '.quant_state.' in name]
    for name in packed:
        _, _, data = parts[name]
        parts[name] = (dtype, [len(data) // BYTES[dtype], 1], data)
    save(path, parts)


def set_key(path, keys, value):
    with open(path, encoding='utf-8') as f:
        root = json.load(f)
    at = root
    *way, last = keys.split('.')
    for key in way:
        at = at[int(key)] if isinstance(at, list) else at[key]
    if value == '-':
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = json.loads(value)
    write_json(path, root)


def cut(path, size):
    size = int(size)
    os.truncate(path, size if size >= 0 else os.path.getsize(path) + size)


def flip(path, bit):
    with open(path, 'r+b') as f:
        f.seek(int(bit) // 8)
        byte, = f.read(1)
        f.seek(int(bit) // 8)
        f.write(bytes([byte ^ 1 << int(bit) % 8]))


def length(path, n):
    with open(path, 'r+b') as f:
        f.write(struct.pack('<Q', int(n)))


def edit_header(path, name, key, value):
    header, data = read(path)
    header[name][key] = json.loads(value)
    write(path, header, data)


def drop(path, name):
    parts = tensors(path)
    del parts[name]
    save(path, parts)


def zeros(path, name, dtype, *shape):
    parts = tensors(path)
    shape = [int(n) for n in shape]
    n = shape[0] * (shape[1] if len(shape) == 2 else 1)
    parts[name] = (dtype, shape, bytes(n * BYTES[dtype]))
    save(path, parts)


def poke(path, name, index, value):
    parts = tensors(path)
    dtype, shape, data = parts[name]
    at = int(index) * BYTES[dtype]
    part = pack(dtype, [float(value)])
    parts[name] = (dtype, shape, data[:at] + part + data[at + len(part):])
    save(path, parts)


def shards(folder):
    path = os.path.join(folder, 'model.safetensors')
    names = ['model-00001-of-00002.safetensors',
             'model-00002-of-00002.safetensors']
    parts = list(tensors(path).items())
    half = len(parts) // 2
    weight_map = {}
    for name, some in zip(names, (parts[:half], parts[half:])):
        save(os.path.join(folder, name), dict(some))
        weight_map.update((key, name) for key, _ in some)
    os.remove(path)
    write_json(path + '.index.json', {'metadata': {}, 'weight_map': weight_map})


def deep(n):
    print('{"text": "a b", "more": ' + '[' * int(n) + ']' * int(n) + '}')


def texts(n, words, more='0'):
    pick = random.Random(1)
    known = 'the a cat dog sun sea ran sat saw old new and to of in it'.split()
    for _ in range(int(n)):
        text, rest = (' '.join(pick.choice(known) for _ in range(int(count)))
                      for count in (words, more))
        print(json.dumps({'prompt': text, 'completion': ' ' + rest} if rest
                         else {'text': text}))


COMMANDS = {'model': model, 'bert': bert, 'storage': storage, 'set': set_key,
            'cut': cut, 'flip': flip, 'length': length, 'header': edit_header,
            'drop': drop, 'zeros': zeros, 'poke': poke, 'shards': shards,
            'deep': deep, 'texts': texts}


def main(argv):
    if len(argv) < 2 or argv[1] not in COMMANDS:
        print(__doc__)
        return 2
    COMMANDS[argv[1]](*argv[2:])
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
