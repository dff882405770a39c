#!/usr/bin/env python3
"""Who may include whom. A room sees itself, the rooms on lower floors and the
public headers; quant sees itself only, the tools see the public headers only,
and tests see everything. Includes are spelled from the root."""
import os
import sys

import csource

FLOORS = {
    'quant': 0, 'src/base': 0,
    'src/op': 1, 'src/format': 1,
    'src/text': 2, 'src/model': 2,
    'src/data': 3, 'src/gen': 3, 'src/convert': 3,
    'src/train': 4,
}
PUBLIC = 'include/qlora'
# Sees all that others see: the tests, and the bench, for it measures the
# inside.
OPEN = ('tests', 'tools/bench')
# Sets up the thread pool and the instruction sets of all floors below.
NEIGHBOURS_ALLOWED = ('src/op/runtime.c',)


def room_of(path):
    """The longest known room that the file lies in, or None."""
    rooms = (*FLOORS, PUBLIC, *OPEN, 'tools')
    inside = [r for r in rooms if path.startswith(r + '/')]
    return max(inside, key=len, default=None)


def resolve(root, spelled):
    for base in ('', 'include/'):
        if os.path.isfile(os.path.join(root, base + spelled)):
            return base + spelled
    return None


def allowed(path, room, target):
    """True if a file of this room may include the target file."""
    theirs = room_of(target)
    if room in OPEN or theirs == room:
        return True
    if theirs in OPEN or theirs == 'tools' or theirs is None:
        return False
    if room in ('quant', PUBLIC):
        return room == 'quant' and target == PUBLIC + '/types.h'
    if theirs == PUBLIC:
        return True
    if room == 'tools':
        return False
    if FLOORS[theirs] == FLOORS[room]:
        return path in NEIGHBOURS_ALLOWED
    return FLOORS[theirs] < FLOORS[room]


def judge(root, path, room, spelled):
    name = spelled[1:-1]
    target = resolve(root, name)
    if spelled[0] == '<':
        ours = name.startswith(('qlora/', 'src/', 'quant/', 'tools/'))
        return f'{spelled} is ours: write "{name}"' if ours else None
    if name.endswith('.c'):
        return f'includes a source file: "{name}"'
    if target is None:
        return f'"{name}" is not a path from the root'
    if not allowed(path, room, target):
        return f'{room} may not include "{name}"'
    return None


def check(root):
    problems = []
    for path in csource.files(root, ('.c', '.h')):
        room = room_of(path)
        if room is None:
            problems.append(f'{path}: lies in no room of the house')
            continue
        for spelled, line in csource.includes(
                csource.lex(csource.read(root, path))):
            wrong = judge(root, path, room, spelled)
            if wrong:
                problems.append(f'{path}:{line}: {wrong}')
    return problems


HOUSE = {name: '' for name in (
    'quant/q.h', 'quant/x86/x.h', 'src/base/b.h', 'src/op/o.h',
    'src/format/f.h', 'src/text/t.h', 'src/model/m.h', 'src/data/d.h',
    'src/gen/g.h', 'src/train/r.h', 'include/qlora/types.h',
    'include/qlora/p.h', 'tools/cli/c.h', 'tests/check/k.h')}


def planted(path, include):
    return {**HOUSE, path: f'/* x */\n#include {include}\n'}


CASES = [(planted(path, f'"{include}"'), want) for path, include, want in (
    ('quant/a.c', 'quant/x86/x.h', None),
    ('quant/a.c', 'qlora/types.h', None),
    ('quant/a.c', 'qlora/p.h', 'quant may not'),
    ('quant/a.c', 'src/base/b.h', 'quant may not'),
    ('quant/x86/a.c', 'src/op/o.h', 'quant may not'),
    ('src/base/a.c', 'quant/q.h', 'src/base may not'),
    ('src/base/a.c', 'qlora/p.h', None),
    ('src/op/a.c', 'quant/q.h', None),
    ('src/op/a.c', 'src/format/f.h', 'src/op may not'),
    ('src/op/runtime.c', 'src/format/f.h', None),
    ('src/op/runtime.c', 'src/text/t.h', 'src/op may not'),
    ('src/text/a.c', 'src/model/m.h', 'src/text may not'),
    ('src/text/a.c', 'src/op/o.h', None),
    ('src/model/a.c', 'src/train/r.h', 'src/model may not'),
    ('src/data/a.c', 'src/gen/g.h', 'src/data may not'),
    ('src/train/a.c', 'src/data/d.h', None),
    ('src/train/a.c', 'tools/cli/c.h', 'src/train may not'),
    ('src/train/a.c', 'tests/check/k.h', 'src/train may not'),
    ('include/qlora/a.h', 'qlora/p.h', None),
    ('include/qlora/a.h', 'src/base/b.h', 'include/qlora may not'),
    ('tools/a.c', 'qlora/p.h', None),
    ('tools/a.c', 'tools/cli/c.h', None),
    ('tools/cli/a.c', 'src/base/b.h', 'tools may not'),
    ('tools/a.c', 'quant/q.h', 'tools may not'),
    ('tools/bench/a.c', 'quant/q.h', None),
    ('tests/unit/a.c', 'src/train/r.h', None),
    ('tests/unit/a.c', 'src/train/missing.h', 'not a path from the root'),
    ('src/op/a.c', 'o.h', 'not a path from the root'),
    ('src/stray.c', 'src/base/b.h', 'in no room'),
    ('tests/unit/a.c', 'src/train/r.c', 'includes a source file'),
)] + [
    (planted('src/op/a.c', '<qlora/p.h>'), 'is ours'),
    (planted('src/op/a.c', '<stdio.h>'), None),
    ({'src/base/a.c': '/*\n#include "src/op/o.h"\n*/ char *s ='
      ' "#include";\n'}, None),
    (planted('src/base/a.c', '<a.h>\n  #  include "src/op/o.h"'), 'a.c:3:'),
]

if __name__ == '__main__':
    sys.exit(csource.main(check, CASES))
