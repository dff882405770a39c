#!/usr/bin/env python3
"""reports.py OUT [STATE]: checks what a run leaves for people in folder OUT,
with readers of its own: metrics.csv, TensorBoard's files, report.html and
README.md must be well formed, stand alone, and say the same as
trainer_state.json. STATE: what report.html must say of the run: finished, or
running, stopped."""
import csv
import html.parser
import json
import math
import os
import re
import struct
import sys

COLUMNS = ('step,train_loss,train_mean_token_accuracy,valid_loss,'
           'valid_mean_token_accuracy,learning_rate,grad_norm,'
           'tokens_per_second,peak_rss_bytes')
CSV_KEYS = {'step': 'step', 'train_loss': 'loss',
            'train_mean_token_accuracy': 'mean_token_accuracy',
            'valid_loss': 'eval_loss',
            'valid_mean_token_accuracy': 'eval_mean_token_accuracy',
            'learning_rate': 'learning_rate', 'grad_norm': 'grad_norm',
            'tokens_per_second': 'tokens_per_second',
            'peak_rss_bytes': 'peak_rss_bytes'}
CHART_KEYS = {('loss', 'training'): 'loss',
              ('loss', 'evaluation'): 'eval_loss',
              ('accuracy', 'training'): 'mean_token_accuracy',
              ('accuracy', 'evaluation'): 'eval_mean_token_accuracy',
              ('rate', 'learning rate'): 'learning_rate',
              ('gradient', 'gradient norm'): 'grad_norm',
              ('speed', 'tokens a second'): 'tokens_per_second',
              ('memory', 'resident'): 'rss_bytes',
              ('memory', 'peak so far'): 'peak_rss_bytes'}
POINTS = 2000


def read(*path):
    with open(os.path.join(*path), encoding='utf-8', newline='') as f:
        return f.read()


# metrics.csv

def check_csv(out, rows):
    text = read(out, 'metrics.csv')
    assert text.split('\n', 1)[0] == COLUMNS, text[:200]
    lines = list(csv.DictReader(text.splitlines()))
    rows = [r for r in rows if 'train_runtime' not in r]
    assert len(lines) == len(rows), (len(lines), len(rows))
    for line, row in zip(lines, rows):
        for column, key in CSV_KEYS.items():
            want = row.get(key)
            got = line[column]
            assert (got == '') == (want is None), (column, line, row)
            assert want is None or float(got) == want, (column, line, row)


# TensorBoard: records of tensorflow's record_writer.cc, protocol buffers

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xa282ead8) & 0xffffffff


def records(data):
    """One that is cut, as a kill may leave it, ends the file."""
    at = 0
    while at + 12 <= len(data):
        length, crc = struct.unpack_from('<QI', data, at)
        assert masked(data[at:at + 8]) == crc, 'sum of a length'
        if at + 16 + length > len(data):
            return
        body = data[at + 12:at + 12 + length]
        crc, = struct.unpack_from('<I', data, at + 12 + length)
        assert masked(body) == crc, 'sum of an event'
        yield body
        at += 16 + length


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def message(data):
    """[(number, value)] of a protocol buffer."""
    at, found = 0, []
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = struct.unpack_from('<d', data, at)[0], at + 8
        elif kind == 5:
            value, at = struct.unpack_from('<f', data, at)[0], at + 4
        else:
            assert kind == 2, kind
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        found.append((tag >> 3, value))
    return found


def events(path):
    """(step, scalars, start) of each event behind the first; none where a run
    was killed before it wrote one."""
    with open(path, 'rb') as f:
        bodies = list(records(f.read()))
    if not bodies:
        return
    first = dict(message(bodies[0]))
    assert first[3] == b'brain.Event:2', first
    for body in bodies[1:]:
        fields = dict(message(body))
        assert fields[1] > 1.5e9, 'the time of an event'
        scalars = {}
        for number, value in message(fields.get(5, b'')):
            assert number == 1
            parts = dict(message(value))
            scalars[parts[1].decode()] = parts[2]
        yield fields[2], scalars, fields.get(7)


def as_float(x):
    return struct.unpack('<f', struct.pack('<f', x))[0]


def scalars_of(row):
    named = {}
    for key, value in row.items():
        if key not in ('step', 'closing'):
            name = ('eval/' + key[5:] if key.startswith('eval_')
                    else 'train/' + key)
            named[name] = as_float(value)
    return named


def check_events(out, rows, more):
    """As TensorBoard reads them: a later file takes back what earlier ones say
    of its first step and after it. more: there may be rows that are in no
    other file yet."""
    folder = os.path.join(out, 'runs')
    seen = []
    for name in sorted(os.listdir(folder)):
        assert name.startswith('events.out.tfevents.'), name
        for step, scalars, start in events(os.path.join(folder, name)):
            if start is not None:
                assert dict(message(start)) == {1: 1}, start
                seen = [s for s in seen if s[0] < step]
            else:
                seen.append((step, scalars))
    want = [(r['step'], scalars_of(r)) for r in rows]
    if more:
        seen = seen[:len(want)]
    assert seen == want, (seen, want)


# report.html

class Page(html.parser.HTMLParser):
    VOID = {'meta', 'link', 'img', 'br', 'hr', 'input', 'path'}

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.needed = [], [], []
        self.texts = {}
        self.status = None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        for name, value in attrs.items():
            assert name not in ('src', 'href', 'srcset', 'action'), attrs
            assert not name.startswith('on'), attrs
            assert value is not None and '//' not in value, attrs
        if 'id' in attrs:
            self.ids.append(attrs['id'])
        self.needed += attrs.get('aria-labelledby', '').split()
        if 'status' in attrs.get('class', '').split():
            self.status = attrs['class'].split()[1]
        if tag not in self.VOID:
            self.open.append((tag, attrs))

    def handle_startendtag(self, tag, attrs):
        assert tag in self.VOID, tag
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        if self.open:
            tag, attrs = self.open[-1]
            key = attrs.get('id', tag)
            self.texts[key] = self.texts.get(key, '') + data


def check_curve(chart, curve, rows, behind):
    key = CHART_KEYS[chart['id'], curve['name']]
    evaluation = key.startswith('eval_')
    want = [(r['step'], r[key]) for r in rows
            if key in r and ('eval_loss' if evaluation else 'loss') in r]
    got = list(zip(curve['x'], curve['y']))
    assert len(curve['x']) == len(curve['y']) <= POINTS
    if behind:
        want = want[:len(got)]
    if len(want) <= POINTS:
        assert got == want, (chart['id'], curve['name'], got, want)
    else:
        assert set(got) <= set(want) and got == sorted(got)
        assert got[0] == want[0] and got[-1] == want[-1]
        for pick in (min, max):
            assert pick(y for _, y in got) == pick(y for _, y in want)
    for x, y in got:
        assert 0 <= x <= chart['x1'], (chart, x)
        at = y / chart['div']
        assert chart['y0'] - 1e-9 <= at <= chart['y1'] * (1 + 1e-9), (chart, y)
    return key


def check_report(out, rows, state):
    """While a run goes on it is written now and then only."""
    text = read(out, 'report.html')
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open, page.open
    assert len(page.ids) == len(set(page.ids)), page.ids
    assert set(page.needed) <= set(page.ids)
    css = page.texts['style']
    assert 'url(' not in css and '@import' not in css
    assert not re.search(r'fetch|XMLHttpRequest|import\s*\(|eval\s*\(',
                         page.texts['script']), 'the script goes out'
    assert page.status == state, page.status
    charts = json.loads(page.texts['data'])
    drawn = {check_curve(c, k, rows, state == 'running')
             for c in charts for k in c['curves']}
    there = {key for row in rows for key in row
             if 'train_runtime' not in row}
    want = {key for key in CHART_KEYS.values() if key in there}
    assert drawn == want, (drawn, want)
    for c in charts:
        assert page.texts[c['id'] + '-d'].strip(), c['id']
    return page


# README.md

def check_card(out):
    text = read(out, 'README.md')
    head, name, body = re.fullmatch(
        r'---\n(.*?)\n---\n<!-- written by qlora-train[^\n]*\n\n'
        r'# ([^\n]*)\n(.*)', text, re.S).groups()
    peft = os.path.exists(os.path.join(out, 'adapter_config.json'))
    library = 'peft' if peft else 'transformers'
    assert f'\nlibrary_name: {library}\n' in head, head
    base = json.loads(re.match(r'base_model: (".*")\n', head).group(1))
    assert name == os.path.basename(os.path.normpath(out)), name
    assert base in body
    assert body.count('\n```') % 2 == 0


def main(out, state='finished'):
    assert crc32c(b'123456789') == 0xe3069283  # the check value of CRC-32C
    whole = json.loads(read(out, 'trainer_state.json'))
    rows = whole['log_history']
    for row in rows:
        assert all(math.isfinite(x) for x in row.values()), row
    assert [r['step'] for r in rows] == sorted(r['step'] for r in rows)
    evals = [r['eval_loss'] for r in rows if 'eval_loss' in r and r['step'] > 0]
    assert whole['best_metric'] == (min(evals) if evals else None)
    assert whole['best_global_step'] == next(
        (r['step'] for r in rows if 'eval_loss' in r and r['step'] > 0
         and r['eval_loss'] == whole['best_metric']), None)
    check_csv(out, rows)
    check_events(out, rows, state == 'running')
    check_report(out, rows, state)
    if state == 'finished':
        check_card(out)
    print(f'{len(rows)} rows agree')


if __name__ == '__main__':
    main(*sys.argv[1:])
