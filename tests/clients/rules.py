#!/usr/bin/env python3
"""The rules by which texts are cut before merges: llama.cpp, told of one by
its name in our GGUF file, cuts as Hugging Face's library does by the pattern
in tokenizer.json. The vocabularies are made for it: single bytes, and all runs
of a few characters that the texts have, so that ids show where cuts are."""
import json
import pathlib
import shutil
import sys

import client
import families
import golden

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORDS = CONTRACTIONS + r'|[^\r\n\p{L}\p{N}]?\p{L}+|'
REST = r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
UPPER = r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]'
LOWER = r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]'
OTHER = r'| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+'


def cased(end):
    begin = r'[^\r\n\p{L}\p{N}]?'
    return (f'{begin}{UPPER}*{LOWER}+{end}|{begin}{UPPER}+{LOWER}*{end}')


def split(pattern, behavior='Isolated', invert=False):
    return {'type': 'Sequence', 'pretokenizers': [
        {'type': 'Split', 'pattern': {'Regex': pattern},
         'behavior': behavior, 'invert': invert},
        {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True,
         'use_regex': False}]}


BYTES = {'type': 'ByteLevel', 'add_prefix_space': False,
         'trim_offsets': True, 'use_regex': True}

# name -> pre-tokenizer, and whether words that are tokens are taken whole
RULES = {
    'gpt-2': (BYTES, False),
    'smollm': ({'type': 'Sequence', 'pretokenizers': [
        {'type': 'Digits', 'individual_digits': True}, BYTES]}, False),
    'llama-bpe': (split(WORDS + r'\p{N}{1,3}' + REST), True),
    'dbrx': (split(WORDS + r'\p{N}{1,3}' + REST, 'Removed', True), False),
    'qwen2': (split(WORDS + r'\p{N}' + REST), False),
    'tekken': (split(cased('') + r'|\p{N}' + OTHER), True),
    'gpt-4o': (split(cased(CONTRACTIONS + '?') + r'|\p{N}{1,3}' + OTHER,
                     'Removed', True), False),
}

TEXTS = (
    'Hello world', "I'm sure they're HERE, aren't they? WE'LL see",
    '1 12 123 1234 12345', 'v1.2.3 and 3.14159', 'camelCase HTMLParser iPhone',
    '  two  three   four', 'line\nline\r\n\r\n  line\n', 'tab\tand\t\ttabs ',
    'a/b//c/\n http://x.org/', '!!! ??? ...\n\n', "'s 'T x'd", '\n', ' ', '',
    'na\u00efve caf\u00e9 \u00fcber', '\u4f60\u597d\u4e16\u754c',
    '\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440',
    '\U0001f600 ok', 'x = y + 1; // done', 'end ')


def byte_letters():
    """The letter that stands for each byte, as GPT-2 has them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    for b in range(256):
        letters.setdefault(b, chr(256 + len(letters) - len(plain)))
    return letters


def vocabulary():
    """Letters of all bytes, and merges that join whatever stands beside each
    other in the texts: a token ends where the text was cut, or it is long."""
    letters = byte_letters()
    vocab = {letters[b]: b for b in range(256)}
    merges = []
    for size in (1, 2, 4):
        for text in TEXTS:
            data = ''.join(letters[b] for b in text.encode())
            for i in range(0, len(data) - size):
                left, right = data[i:i + size], data[i + size:i + 2 * size]
                if left in vocab and right in vocab and \
                        left + right not in vocab:
                    vocab[left + right] = len(vocab)
                    merges.append(f'{left} {right}')
    return vocab, merges


def write_model(folder, pre, whole_words):
    vocab, merges = vocabulary()
    size = (len(vocab) + 2 + 31) // 32 * 32
    families.write_zeros(folder, size)
    golden.save(folder / 'tokenizer.json', {
        'version': '1.0', 'normalizer': None, 'post_processor': None,
        'added_tokens': [{'id': len(vocab) + i, 'content': token,
                          'special': True, 'single_word': False,
                          'lstrip': False, 'rstrip': False,
                          'normalized': False}
                         for i, token in enumerate(('<s>', '</s>'))],
        'pre_tokenizer': pre,
        'decoder': {'type': 'ByteLevel', 'add_prefix_space': False,
                    'trim_offsets': True, 'use_regex': True},
        'model': {'type': 'BPE', 'ignore_merges': whole_words,
                  'vocab': vocab, 'merges': merges}})
    golden.save(folder / 'tokenizer_config.json',
                {'bos_token': '<s>', 'eos_token': '</s>'})


def check_rule(tools, clients, scratch, name):
    folder = scratch / name
    file = scratch / f'{name}.gguf'
    write_model(folder, *RULES[name])
    client.tool(tools, 'qlora-export', 'gguf', '--model', folder, '--output',
                file, '--quiet')
    if f'{name}'.encode() not in file.read_bytes()[:4096]:
        raise RuntimeError(f'{name}: another name is in the file')
    wanted = clients.tokenizer(folder / 'tokenizer.json', TEXTS)
    got = clients.llama(file, tokenize=TEXTS)['ids']
    failed = 0
    for text, ids, want in zip(TEXTS, got, wanted):
        if ids != want:
            print(f'{name}: {json.dumps(text)}: {ids}, not {want}')
            failed = 1
    print(f'{name}: {len(TEXTS)} texts')
    shutil.rmtree(folder)
    return failed, tuple(map(tuple, wanted))


def tests(tools, clients, scratch):
    failed = 0
    ways = set()
    for name in RULES:
        wrong, ids = check_rule(tools, clients, pathlib.Path(scratch), name)
        failed |= wrong
        ways.add(ids)
    if len(ways) < len(RULES) - 1:
        print('the texts are cut alike by rules that differ')
        failed = 1
    return failed


if __name__ == '__main__':
    sys.exit(client.main(tests))
