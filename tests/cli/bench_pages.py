#!/usr/bin/env python3
"""What a page of qlora-bench shows is what its JSON says.

    bench_pages.py memory DIR
    bench_pages.py quality DIR
"""
import csv
import html.parser
import json
import math
import os
import sys

GIB = 2 ** 30


class Page(html.parser.HTMLParser):
    """tables: {id: rows of cells}; shapes: attributes of what is drawn."""

    def __init__(self, path):
        super().__init__()
        self.tables, self.shapes, self.open = {}, [], []
        self.table, self.cell = None, None
        self.text = ''
        with open(path, encoding='utf-8') as f:
            self.feed(f.read())
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert not any(v and '://' in v for v in attrs.values()), attrs
        if tag not in ('meta', 'line', 'br'):
            self.open.append(tag)
        self.shapes.append((tag, attrs))
        if tag == 'table':
            self.table = self.tables.setdefault(attrs['id'], [])
        elif tag == 'tr' and self.table is not None:
            self.table.append([])
        elif tag in ('td', 'th'):
            self.cell = ''

    def handle_startendtag(self, tag, attrs):
        self.shapes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()
        if tag in ('td', 'th'):
            self.table[-1].append(self.cell)
            self.cell = None

    def handle_data(self, data):
        self.text += data
        if self.cell is not None:
            self.cell += data

    def body(self, name):
        return [row for row in self.tables.get(name, []) if row]

    def drawn(self, tag, key):
        return [a for t, a in self.shapes if t == tag and key in a]


def number(x, digits, unit=1):
    """As the page writes it."""
    return '\u2013' if x is None else f'{x / unit:.{digits}f}'


def speed(row):
    text = number(row.get('tokens_per_second'), 2)
    spread = row.get('spread_percent')
    return text if spread is None else f'{text}, spread {spread:.0f} %'


def rows_of(root):
    return root['measured'] + root['predicted']


def check_numbers(page, root):
    table = page.body('numbers')[1:]
    assert len(table) == len(rows_of(root)), table
    for cells, row in zip(table, rows_of(root)):
        assert cells == [
            row['shape'], row['title'], number(row['parameters'], 1, 1e6),
            number(row.get('peak'), 3, GIB),
            number(row.get('anonymous'), 3, GIB),
            number(row['plan_total'], 3, GIB),
            number(row['plan_anonymous'], 3, GIB),
            number(row.get('plan_error_percent'), 1),
            number(row.get('parts_error_percent'), 1),
            number(row.get('first_loss'), 4),
            speed(row)], (cells, row)


def check_bars(page, root):
    """Lengths are in the ratio of bytes, within a chart and between bars."""
    for row in root['measured']:
        error = 100 * (row['plan_anonymous'] / row['anonymous'] - 1)
        assert abs(error - row['plan_error_percent']) < 1e-6, (error, row)
        known = ['weights, not mapped', 'trained weights', 'gradients',
                 'optimizer', 'activations', 'work space']
        parts = [row['held'][k] for k in known]
        parts += [sum(row['held'].values()) - sum(parts)]
        error = 100 * (sum(parts) / row['anonymous'] - 1)
        assert abs(error - row['parts_error_percent']) < 1e-6, (error, row)
        parts += [row['file']]
        want = [p for p in parts if p > 0]
        bars = [b for b in page.drawn('rect', 'data-bytes')
                if b['data-way'] == row['way']]
        got = [float(b['data-bytes']) for b in bars]
        at = next(i for i in range(len(got))
                  if got[i:i + len(want)] == [float(w) for w in want])
        scale = [float(b['width']) / float(b['data-bytes'])
                 for b in bars[at:at + len(want)]
                 if float(b['width']) > 20]
        assert max(scale) < 1.01 * min(scale), scale
        assert any(float(t['data-peak']) == row['peak']
                   for t in page.drawn('b', 'data-peak')), row


def check_error(page, root):
    last = root['measured'][-1]['shape']
    errors = [r['plan_error_percent'] for r in root['measured']
              if r['shape'] == last]
    said = f'at {last}: the plan\'s private memory is {min(errors):.1f} to ' \
        f'{max(errors):.1f} % more'
    assert said in page.text, said


def check_dots(page, root):
    dots = {(d['data-shape'], d['data-way']): d
            for d in page.drawn('circle', 'data-bytes')}
    want = [r for r in root['predicted']
            if r['way'] in ('full', 'full-bf16', 'lora', 'qlora')]
    assert len(dots) == len(want), (dots, want)
    places = []
    for row in want:
        dot = dots[row['shape'], row['way']]
        assert float(dot['data-bytes']) == row['plan_total'], (dot, row)
        if row['plan_total'] > GIB / 4:  # where the axis begins
            places.append((math.log2(row['plan_total']), float(dot['cx'])))
    for (x, cx), (y, cy) in zip(places, places[1:]):
        if abs(x - y) > 0.5:
            # one power of two is one step of the axis, of which there are 13
            assert abs((cx - cy) / (x - y) - 745 / 13) < 2, places


def check_memory(folder):
    with open(os.path.join(folder, 'memory.json'), encoding='utf-8') as f:
        root = json.load(f)
    page = Page(os.path.join(folder, 'memory.html'))
    check_numbers(page, root)
    check_bars(page, root)
    check_dots(page, root)
    if root['measured']:
        check_error(page, root)
    published = page.body('published')[1:]
    assert len(published) == len(root['published'])
    for cells, p in zip(published, root['published']):
        assert cells[0] == p['model'] and cells[-1] == p['source'], cells
        for cell, key in zip(cells[1:], ('qlora_gb', 'lora_gb', 'full_gb',
                                         'full_16bit_gb')):
            assert cell == '\u2013' and p[key] is None or \
                float(cell) == p[key], (cells, p)
    floors = page.body('floors')
    assert len(floors) == len(root['floors'])
    for cells, o in zip(floors, root['floors']):
        holds = o['value'] <= o['limit'] if o['bound'] == 'at most' \
            else o['value'] >= o['limit']
        assert o['holds'] is holds, o
        assert cells == [o['what'], f"{o['value']:.3f}", o['kind'],
                         f"{o['bound']} {o['limit']:g}",
                         'holds' if holds else 'does not hold'], cells
    with open(os.path.join(folder, 'memory.csv'), encoding='utf-8') as f:
        table = list(csv.DictReader(f))
    assert len(table) == len(rows_of(root))
    for line, row in zip(table, rows_of(root)):
        assert (line['shape'], line['way']) == (row['shape'], row['way'])
        total = row.get('peak', row['plan_total'])
        assert math.isclose(float(line['total_gib']), total / GIB,
                            rel_tol=1e-8), (line, row)


def check_losses(page, root):
    """Dots lie where their losses are, from the least to the most."""
    dots = [(float(d['data-loss']), float(d['cx']))
            for d in page.drawn('circle', 'data-loss')]
    want = []
    for row in root['rows']:
        want += [row['eval_before'], row['eval_after']]
    assert [round(loss, 7) for loss, _ in dots] == \
        [round(loss, 7) for loss in want], (dots, want)
    for model in {row['model'] for row in root['rows']}:
        of = [dots[2 * i + k] for i, row in enumerate(root['rows'])
              if row['model'] == model for k in (0, 1)]
        (low, x), (high, y) = min(of), max(of)
        for loss, cx in of:
            at = x + (loss - low) / ((high - low) or 1) * (y - x)
            assert abs(cx - at) < 0.05, (of, loss)


def check_quality(folder):
    with open(os.path.join(folder, 'quality.json'), encoding='utf-8') as f:
        root = json.load(f)
    page = Page(os.path.join(folder, 'quality.html'))
    table = page.body('numbers')[1:]
    assert len(table) == len(root['rows'])
    for cells, row in zip(table, root['rows']):
        assert cells == [row['model'], row['title'],
                         number(row['parameters'], 0),
                         number(row['trainable'], 0),
                         number(row['eval_before'], 5),
                         number(row['eval_after'], 5)], (cells, row)
    check_losses(page, root)
    losses = {(r['model'], r['form']): r for r in root['rows']}
    table = page.body('claims')
    assert len(table) == len(root['claims'])
    for cells, o in zip(table, root['claims']):
        a, b = (losses[o['model'], o[k]][o['key']] for k in 'ab')
        excess = 100 * (a / b - 1)
        assert abs(excess - o['excess_percent']) < 1e-6, (o, a, b)
        assert o['holds'] is (excess <= o['most_percent']), o
        assert cells == [o['model'], o['what'], f'{excess:+.2f} %',
                         f"at most {o['most_percent']:g} %",
                         'so it is' if o['holds'] else
                         'our figures disagree'], (cells, o)


if __name__ == '__main__':
    {'memory': check_memory, 'quality': check_quality}[sys.argv[1]](
        sys.argv[2])
