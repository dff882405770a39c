#!/usr/bin/env python3
"""What a page of qlora-bench shows is what its JSON says: every figure of it,
and where things are drawn, is derived anew, and a page with any other digit is
refused.

    bench_pages.py memory DIR
    bench_pages.py quality DIR
"""
import csv
import html.parser
import json
import math
import os
import random
import re
import statistics
import sys

MIB = 2 ** 20
GIB = 2 ** 30
MUTANTS = 60
DASH = '\u2013'

# What holds figures; all else is prose, of which numbers count
EXACT = {'td', 'b', 'title', 'text', 'code'}
WHOLE = {'value', 'lead bad'}
# Attributes that place, size, colour or tell
DRAWN = re.compile(r'\d|var\(')


def numbers(text):
    return re.findall(r'-?\d+(?:\.\d+)*', text)


def prose(*parts):
    """Its numbers, as tokens."""
    return [' '.join(found) for found in (numbers(' '.join(parts)),) if found]


def digits(texts):
    return re.sub(r'\D', '', ''.join(texts))


def drawn(tag, **attrs):
    return ' '.join([tag] + [f'{key.replace("_", "-")}={value}'
                             for key, value in attrs.items()])


class Page(html.parser.HTMLParser):
    """tokens: in the order of the page, what its elements say, and what they
    are drawn by; digits: all that are in those."""

    def __init__(self, text):
        super().__init__()
        self.tokens, self.digits, self.open, self.text = [], '', [], ''
        self.body = text.split('<body>')[1]
        self.feed(self.body)
        self.close()
        assert self.open == [], self.open

    def end_text(self):
        text, self.text = self.text.strip(), ''
        if not text:
            return
        tag, attrs = self.open[-1]
        exact = tag in EXACT or attrs.get('class') in WHOLE
        tokens = [text] if exact else prose(text)
        self.tokens += tokens
        self.digits += digits(tokens)

    def handle_starttag(self, tag, attrs):
        self.end_text()
        attrs = dict(attrs)
        assert not any('://' in v for v in attrs.values()), attrs
        self.open.append((tag, attrs))
        shown = {k: v for k, v in attrs.items()
                 if k != 'style' and (DRAWN.search(v) or k[:5] == 'data-')}
        if shown:
            self.tokens.append(drawn(tag, **shown))
            self.digits += digits(shown.values())

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        self.end_text()
        if tag in ('html', 'body'):
            return
        assert self.open and self.open.pop()[0] == tag, (tag, self.open)

    def handle_data(self, data):
        self.text += data


def number(x, decimals, unit=1):
    """As the page writes it."""
    return DASH if x is None else f'{x / unit:.{decimals}f}'


def size(x):
    """Bytes, as the commands write them."""
    if x < 1024:
        return f'{x} B'
    for unit in ('KiB', 'MiB', 'GiB', 'TiB'):
        x /= 1024
        if x < 1023.95:
            break
    return f'{x:.1f} {unit}'


def machine(m):
    return prose(m['processor'], f"{m['threads']} {m['cores']}", m['isa'],
                 f"{m['memory_gib']:.1f} {m['load']:.1f}", m['version'],
                 m['compiler']) + [m['command']]


def stopped(root):
    """Why not all was measured."""
    why = root.get('stopped')
    return [f'Not all was measured: {why}'] if why else []


def unique(names):
    return list(dict.fromkeys(names))


# ------------------------------------------------------------------- memory

PARTS = [('weights', 'w', 'weights, not mapped'),
         ('trained parameters', 'p', 'trained weights'),
         ('gradients', 'g', 'gradients'), ('optimizer', 'o', 'optimizer'),
         ('activations', 'v', 'activations'), ('work space', 'k', 'work space')]
DOTS = {'full': ('o', 'full fine-tuning, fp32', 'full_gb',
                 'full fine-tuning, mixed precision'),
        'full-bf16': ('p', 'full fine-tuning, bf16', 'full_16bit_gb',
                      'full fine-tuning, 16 bits'),
        'lora': ('g', 'LoRA, 16 bits', 'lora_gb', 'LoRA, 16 bits'),
        'qlora': ('w', 'QLoRA', 'qlora_gb', 'QLoRA')}


def rows_of(root):
    return root['measured'] + root['predicted']


def parts_of(row):
    """Name, colour and bytes of what a bar is made of."""
    parts = [(name, style, row['held'][key]) for name, style, key in PARTS]
    other = sum(row['held'].values()) - sum(p[2] for p in parts)
    return parts + [('other', 'x', other), ('mapped files', 'f', row['file'])]


def of_shape(rows, shape):
    return [row for row in rows if row['shape'] == shape]


def headline(root):
    rows = root['measured']
    if not rows:
        return []
    shape = rows[-1]['shape']
    peak = {r['way']: r['peak'] for r in of_shape(rows, shape)}
    out = [shape]
    for label, way in (('full, fp32', 'full'), ('full, bf16', 'full-bf16'),
                       ('LoRA', 'lora'), ('QLoRA', 'qlora')):
        if way in peak:
            out += prose(label) + [size(peak[way])]
    if {'full', 'qlora'} <= peak.keys():
        out += prose('fp32 : QLoRA')
        out.append(f"{peak['full'] / peak['qlora']:.1f}")
    return out


def bars(root):
    out = []
    for shape in reversed(unique(r['shape'] for r in root['measured'])):
        rows = of_shape(root['measured'], shape)
        most = max(sum(p[2] for p in parts_of(row)) for row in rows)
        out.append(shape)
        for row in rows:
            out += prose(row['title'])
            out.append(drawn('svg', viewbox='0 0 1000 10'))
            x = 0
            for name, style, part in parts_of(row):
                width = part / most * 1000
                if part > 0:
                    out.append(drawn(
                        'rect', x=f'{x:.2f}', width=f'{width:.2f}', height=10,
                        fill=f'var(--{style})', data_way=row['way'],
                        data_bytes=part))
                    out.append(f'{name}: {size(part)}')
                    x += width
            out += [drawn('b', data_peak=row['peak']), size(row['peak'])]
    return out


def place(gib):
    share = math.log2(max(gib, 0.25) / 0.25) / math.log2(2048 / 0.25)
    return 225 + share * (1000 - 30 - 225)


def axis(bottom):
    out = []
    for tops, y, marks in ((26, f'{bottom + 16:.1f}',
                            [2 ** i for i in range(-2, 12)]),
                           (20, '14', [8, 16, 24])):
        for mark in marks:
            x = f'{place(mark):.1f}'
            out += [drawn('line', x1=x, x2=x, y1=tops, y2=f'{bottom:.1f}'),
                    drawn('text', x=x, y=y), f'{mark:g}']
    return out + [drawn('text', x=f'{place(8) - 20:.1f}', y=14),
                  'memory of laptops',
                  drawn('text', x=970, y=f'{bottom + 36:.1f}'),
                  'GiB, each line twice the one before']


def published_dots(root, shape, y):
    out = []
    for p in of_shape(root['published'], shape):
        for style, _, key, title in DOTS.values():
            if p[key] is not None:
                cx = place(p[key] * 1e9 / GIB)
                out += [drawn('circle', cx=f'{cx:.1f}', cy=y, r=5,
                              stroke=f'var(--{style})'),
                        f"{p['source']}: {title}, {p[key]:g} GB"]
    return out


def planned_dots(root, shape, y):
    out = []
    for row in of_shape(root['predicted'], shape):
        if row['way'] not in DOTS:
            continue
        style, title = DOTS[row['way']][:2]
        total = row['plan_total'] / GIB
        cx = f'{place(total):.1f}'
        label = 2 if total < 10 else 1 if total < 100 else 0
        out += [drawn('circle', cx=cx, cy=f'{y:.1f}', r=7,
                      fill=f'var(--{style})', data_shape=shape,
                      data_way=row['way'], data_bytes=row['plan_total']),
                f'{title}: {total:.2f} GiB',
                drawn('text', x=cx, y=f'{y - 11:.1f}'), f'{total:.{label}f}']
    return out


def dots(root):
    shapes = unique(r['shape'] for r in root['predicted'])
    if not shapes:
        return []
    out = [found for style, title, *_ in DOTS.values()
           for found in prose(title)]
    out.append(drawn('svg', viewbox=f'0 0 1000 {34 + 46 * len(shapes) + 44}'))
    out += axis(34 + 46 * len(shapes))
    for i, shape in enumerate(shapes):
        y = 52 + 46 * i
        out += [drawn('text', x=213, y=f'{y + 5:.1f}'), shape]
        out += published_dots(root, shape, f'{y:.1f}')
        out += planned_dots(root, shape, y)
    return out


def plan_error(root):
    rows = root['measured']
    if not rows:
        return []
    shape = rows[-1]['shape']
    errors = [100 * (r['plan_anonymous'] / r['anonymous'] - 1)
              for r in of_shape(rows, shape)]
    return prose(f'{shape} {min(errors):.1f} {max(errors):.1f}')


def floors(root):
    out = []
    for o in root['floors']:
        holds = o['value'] <= o['limit'] if o['bound'] == 'at most' \
            else o['value'] >= o['limit']
        assert o['holds'] is holds, o
        out += [o['what'], f"{o['value']:.3f}", o['kind'],
                f"{o['bound']} {o['limit']:g}",
                'holds' if holds else 'does not hold']
    return out


def memory_table(root):
    out = prose('10') + prose('6')  # of parameters
    for row in rows_of(root):
        out += [row['shape'], row['title'], number(row['parameters'], 1, 1e6),
                number(row.get('peak'), 3, GIB),
                number(row.get('anonymous'), 3, GIB),
                number(row['plan_total'], 3, GIB),
                number(row['plan_anonymous'], 3, GIB),
                number(row.get('plan_error_percent'), 1),
                number(row.get('parts_error_percent'), 1),
                number(row.get('first_loss'), 4)]
    return out


def rounds_table(root):
    out = []
    for row in root['measured']:
        out += [row['shape'], row['title'], number(row['rounds'], 0)]
        out += [number(row[key], 1, MIB) for key in
                ('peak_least', 'peak', 'peak_most', 'anonymous_least',
                 'anonymous', 'anonymous_most', 'swap')]
        out += [number(row['tokens_per_second'], 2),
                number(row['spread_percent'], 0)]
    return out


def published(root):
    out = prose('bf16 fp16 32 16 bf16') + prose('16') + prose('16')  # bits
    for p in root['published']:
        gbs = [p[k] for k in ('qlora_gb', 'lora_gb', 'full_gb',
                              'full_16bit_gb')]
        out += [p['model']] + [number(gb, 0 if gb == int(gb or 0) else 3)
                               for gb in gbs] + [p['source']]
    return out


def memory_tokens(root):
    lead = prose(f"{root['max_length']} {root['batch_size']} {root['lora_r']}",
                 '16')  # of bf16
    return lead + stopped(root) + headline(root) + bars(root) + dots(root) + \
        plan_error(root) + floors(root) + memory_table(root) + \
        rounds_table(root) + published(root) + machine(root['machine'])


def check_derived(row):
    """What the JSON of a row derives from the rest of it."""
    error = 100 * (row['plan_anonymous'] / row['anonymous'] - 1)
    assert math.isclose(error, row['plan_error_percent'], abs_tol=1e-9), row
    error = 100 * (sum(row['held'].values()) / row['anonymous'] - 1)
    assert math.isclose(error, row['parts_error_percent'], abs_tol=1e-9), row
    assert row['first_loss'] == row['losses'][0], row
    for key in 'peak', 'anonymous':
        assert row[f'{key}_least'] <= row[key] <= row[f'{key}_most'], row
        assert row['rounds'] > 1 or \
            row[f'{key}_least'] == row[f'{key}_most'], row
    seconds = row['step_seconds']
    steps = max(len(row['seconds']) - 1, 1)
    assert len(seconds) == row['rounds'] * steps, row
    middle = statistics.median(seconds)
    assert math.isclose(row['tokens_per_second'],
                        row['step_tokens'] / middle), row
    spread = 100 * (max(seconds) - min(seconds)) / middle
    assert row['spread_percent'] is None and len(seconds) == 1 or \
        math.isclose(row['spread_percent'], spread, abs_tol=1e-9), row


def memory_csv(root):
    """The file as it must be."""
    def cell(x):
        return '' if x is None else f'{x:.9g}'

    lines = ['shape,way,kind,parameters,trainable,total_gib,anonymous_gib,'
             'file_gib,plan_total_gib,plan_anonymous_gib,plan_error_percent,'
             'parts_error_percent,first_loss,tokens_per_second,spread_percent,'
             'rounds,total_least_gib,total_most_gib,anonymous_least_gib,'
             'anonymous_most_gib,swap_gib']
    for row in rows_of(root):
        sizes = [row.get('peak', row['plan_total']),
                 row.get('anonymous', row['plan_anonymous']), row.get('file'),
                 row['plan_total'], row['plan_anonymous']]
        texts = [row['shape'], row['way'], row['result']]
        lines.append(','.join(
            ['"' + text.replace('"', '""') + '"' for text in texts] +
            [cell(row['parameters']), cell(row.get('trainable'))] +
            [cell(x if x is None else x / GIB) for x in sizes] +
            [cell(row.get(key)) for key in
             ('plan_error_percent', 'parts_error_percent', 'first_loss',
              'tokens_per_second', 'spread_percent', 'rounds')] +
            [cell(row[key] / GIB if row.get(key) is not None else None)
             for key in ('peak_least', 'peak_most', 'anonymous_least',
                         'anonymous_most', 'swap')]))
    return ''.join(line + '\n' for line in lines)


# ------------------------------------------------------------------ quality

def losses(root, model):
    rows = [r for r in root['rows'] if r['model'] == model]
    every = [r[key] for r in rows for key in ('eval_before', 'eval_after')]
    low, high = min(every), max(every)
    out = [drawn('svg', viewbox=f'0 0 1000 {40 + 42 * len(rows)}'),
           drawn('text', x=0, y=18), model]
    for i, row in enumerate(rows):
        y = f'{60 + 42 * i:.1f}'
        out += [drawn('line', x1=320, x2=940, y1=y, y2=y),
                drawn('text', x=298, y=f'{65 + 42 * i:.1f}'), row['title']]
        for key, style in (('eval_before', 'o'), ('eval_after', 'w')):
            loss = row[key]
            x = 320 + (loss - low) / ((high - low) or 1) * (940 - 320)
            out += [drawn('circle', cx=f'{x:.2f}', cy=y, r=7,
                          fill=f'var(--{style})', data_key=key,
                          data_loss=f'{loss:.9g}'),
                    drawn('text', x=f'{x:.1f}', y=f'{49 + 42 * i:.1f}'),
                    f'{loss:.4f}']
    return out


def excesses(a, b):
    """The least and the most of all rounds; what has one round has it for
    all."""
    a, b = a['eval_afters'], b['eval_afters']
    every = [100 * (a[i] / b[i if len(b) > 1 else 0] - 1)
             for i in range(len(a))]
    return min(every), max(every)


def claims(root):
    loss = {(r['model'], r['form']): r for r in root['rows']}
    out = []
    for o in root['claims']:
        a, b = (loss[o['model'], o[k]][o['key']] for k in 'ab')
        excess = 100 * (a / b - 1)
        assert math.isclose(excess, o['excess_percent'], abs_tol=1e-9), o
        assert o['holds'] is (excess <= o['most_percent']), o
        out += [o['model'], o['what'], f'{excess:+.2f} %']
        verdict = 'so it is' if o['holds'] else 'our figures disagree'
        if o['key'] == 'eval_after':
            low, high = excesses(loss[o['model'], o['a']],
                                 loss[o['model'], o['b']])
            out.append(f'{low:+.2f} to {high:+.2f} %')
            if o['holds'] and high > o['most_percent']:
                verdict = 'not in all rounds'
        out += [f"at most {o['most_percent']:g} %", verdict]
    return out


def quality_tokens(root):
    out = ['4']  # bits
    out += prose(f"{root['steps']} {root['batch_size']}", root['data'],
                 f"{root['lora_r']} {root['learning_rate']:g}",
                 root['eval_data'], str(root['rounds'])) + stopped(root)
    for model in unique(r['model'] for r in root['rows']):
        out += losses(root, model)
    out += claims(root)
    for row in root['rows']:
        out += [row['model'], row['title'], number(row['parameters'], 0),
                number(row['trainable'], 0), number(row['eval_before'], 5)]
        ends = sorted(row['eval_afters'])
        assert len(ends) == (root['rounds'] if row['form'] != 'full' else 1)
        assert row['eval_after'] == ends[(len(ends) - 1) // 2], row
        out += [number(x, 5) for x in (row['eval_after'], ends[0], ends[-1])]
    return out + machine(root['machine'])


# -------------------------------------------------------------------- check

def same(page, want):
    """None, or what is first not as it must be."""
    for got, wanted in zip(page.tokens + [None], want + [None]):
        if got != wanted:
            return got, wanted
    return None


def check_mutants(text, want):
    """All digits but those in the names of HTML are looked at, and another one
    in the place of some of them is seen."""
    start = text.index('<body>') + len('<body>')
    names = re.compile(r'</?\w+|[\w-]+="')
    named = {i for m in names.finditer(text, start) for i in range(*m.span())}
    places = [m.start() for m in re.compile(r'\d').finditer(text, start)
              if m.start() not in named]
    assert Page(text).digits == ''.join(text[i] for i in places)
    draw = random.Random(1)
    for i in draw.sample(places, min(MUTANTS, len(places))):
        other = str((int(text[i]) + draw.randint(1, 9)) % 10)
        mutant = Page(text[:i] + other + text[i + 1:])
        assert same(mutant, want), text[i - 40:i + 40]


def check(folder, kind, tokens):
    with open(os.path.join(folder, f'{kind}.json'), encoding='utf-8') as f:
        root = json.load(f)
    with open(os.path.join(folder, f'{kind}.html'), encoding='utf-8') as f:
        text = f.read()
    want = tokens(root)
    wrong = same(Page(text), want)
    assert not wrong, f'the page has {wrong[0]!r} for {wrong[1]!r}'
    check_mutants(text, want)
    return root


def check_memory(folder):
    root = check(folder, 'memory', memory_tokens)
    for row in root['measured']:
        check_derived(row)
    path = os.path.join(folder, 'memory.csv')
    with open(path, encoding='utf-8', newline='') as f:
        assert f.read() == memory_csv(root)
    with open(path, encoding='utf-8', newline='') as f:
        assert [r['shape'] for r in csv.DictReader(f)] == \
            [r['shape'] for r in rows_of(root)]


def check_quality(folder):
    check(folder, 'quality', quality_tokens)


if __name__ == '__main__':
    {'memory': check_memory, 'quality': check_quality}[sys.argv[1]](
        sys.argv[2])
