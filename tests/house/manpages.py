#!/usr/bin/env python3
"""Every option of a command's --help is in its man page with the same default,
and the other way round; mandoc, where it is installed, finds no fault; and the
README speaks of no option that is not there."""
import os
import re
import shutil
import stat
import sys
import tempfile

import csource

# A line of --help, and of a page: "-q, --[no-]quiet", "--seed N".
HELP = re.compile(r'  (?:   |-(\w),) --(\[no-\])?([a-z0-9-]+)(?: (\S.*))?')
ITEM = re.compile(r'\.It (?:Fl (\w) , )?Fl -(\[no-\])?([a-z0-9-]+)'
                  r'(?: Ar (.*))?')


def help_options(text):
    """{name: (letter, negatable, value, default or None)}"""
    options = {}
    name = None
    for line in text.split('\n'):
        m = HELP.match(line)
        if m:
            name = m.group(3)
            value = re.split(r'  |$', m.group(4) or '')[0]
            options[name] = [m.group(1), bool(m.group(2)), value, line]
        elif name and line.startswith(' ' * 20):
            options[name][3] += ' ' + line.strip()
        else:
            name = None
    for option in options.values():
        m = re.search(r'\[([^][]*)\]$', option[3])
        option[3] = m.group(1) if m else None
    return options


def page_options(text):
    """The same; the default is the word after "default is"."""
    options = {}
    name = None
    for line in text.split('\n'):
        m = ITEM.match(line)
        if m:
            name = m.group(3)
            value = (m.group(4) or '').replace(' ...', '...')
            options[name] = [m.group(1), bool(m.group(2)), value, '']
        elif line.startswith(('.It ', '.El', '.S')):
            name = None
        elif name:
            options[name][3] += ' ' + re.sub(r'^\.[A-Z][a-z] ', '', line)
    for option in options.values():
        m = re.search(r'default is (\S+)', option[3])
        option[3] = m.group(1).rstrip('.,') if m else None
    return options


def same_default(said, meant):
    """A default of several words is told in other words."""
    if meant is None or ' ' in meant or said == meant:
        return True
    try:
        return abs(float(said) - float(meant)) <= 1e-6 * abs(float(meant))
    except (TypeError, ValueError):
        return False


def compare(page, of_help, of_page):
    for name in sorted(of_help.keys() | of_page.keys()):
        if name not in of_page:
            yield f'{page}: --{name} is missing'
        elif name not in of_help:
            yield f'{page}: --{name} is not an option of the command'
        elif of_page[name][:3] != of_help[name][:3]:
            yield f'{page}: --{name} is written otherwise than in --help'
        elif not same_default(of_page[name][3], of_help[name][3]):
            yield f'{page}: --{name} has the default {of_help[name][3]}, ' \
                  f'not {of_page[name][3]}'


def option_names(text):
    """Of what stands in text, without a "no-" before it."""
    return [m.group(1).replace('_', '-') for m in
            re.finditer(r'(?<![-\w])--(?:no-)?([a-z0-9][a-z0-9_-]*)', text)]


def check_readme(text, of_help):
    """of_help: {command: names of its options}. A command line has options of
    its command, in code of one line, or of more that end in a backslash."""
    text = re.sub(r'\\\n\s*', '', text)
    known = set().union(*of_help.values())
    for line in text.split('\n'):
        for name in option_names(line):
            if name not in known:
                yield f'README.md: --{name} is no option'
        parts = re.findall('`([^`]*)`', line)
        for code in parts if parts else [line]:
            command = code.split()[0] if code.split() else ''
            for name in option_names(code):
                if name in known and name not in of_help.get(command, known):
                    yield f'README.md: {command} has no option --{name}'


def check(root, program):
    page = os.path.join('tools', 'man', os.path.basename(program) + '.1')
    if not os.path.exists(os.path.join(root, page)):
        return [f'{page}: there is no such page']
    code, text = csource.output_of([program, '--help'])
    options = help_options(text)
    if code != 0 or not options:
        return [f'{program} --help: no options\n{text}']
    problems = list(compare(page, options,
                            page_options(csource.read(root, page))))
    if shutil.which('mandoc'):
        code, text = csource.output_of(
            ['mandoc', '-T', 'lint', '-W', 'warning', page], cwd=root)
        if code != 0:
            problems.append(text.strip())
    return problems


HELP_TEXT = """Does it.

Usage: tool MODEL [OPTION...]

Arguments:
  MODEL                       a folder

Data:
      --data FILE...          files [none]
      --kind VALUE            a or b: nf4,
                              fp4 [nf4]
      --rate X                a rate [0.699999988079071]
      --a-very-long-name-of-an-option N
                              a number [the best]
  -q, --[no-]quiet            no progress [off]
  -h, --help                  this text
"""
PAGE = """.Dd January 1, 2026
.Dt TOOL 1
.Os
.Sh NAME
.Nm tool
.Nd does it
.Sh OPTIONS
.Bl -tag -width Ds
.It Fl -data Ar FILE ...
Files.
The default is none.
.It Fl -kind Ar VALUE
A kind.
The default is
.Cm nf4 .
.It Fl -rate Ar X
The default is 0.7.
.It Fl -a-very-long-name-of-an-option Ar N
The default is what is best.
.It Fl q , Fl -[no-]quiet
The default is off.
.It Fl h , Fl -help
This text.
.El
"""
EXTRA = '.It Fl -more Ar N\nMore.\n.El'
CASES = [
    (PAGE, None),
    (PAGE.replace('.It Fl -rate Ar X\nThe default is 0.7.\n', ''),
     '--rate is missing'),
    (PAGE.replace('.El', EXTRA), '--more is not an option'),
    (PAGE.replace('is 0.7', 'is 0.8'), '--rate has the default 0.6'),
    (PAGE.replace('The default is 0.7.', 'A rate.'), '--rate has the default'),
    (PAGE.replace('Cm nf4', 'Cm fp4'), '--kind has the default nf4, not fp4'),
    (PAGE.replace('-[no-]quiet', '-quiet'), '--quiet is written otherwise'),
    (PAGE.replace('Fl q , ', ''), '--quiet is written otherwise'),
    (PAGE.replace('FILE ...', 'FILE'), '--data is written otherwise'),
]


README = [
    ('    tool --data a --rate 1 | tool --no-quiet', None),
    ('By `tool --data a`, with `--seed`, --some_seed or --quiet.',
     '--some-seed is no option'),
    ('    tool --data \\\n        --seed 1', 'tool has no option --seed'),
    ('What `tool --seed` is.', 'tool has no option --seed'),
    ('    other --seed 1 --kind nf4', 'other has no option --kind'),
]


def self_test():
    failed = 0
    of_help = {'tool': set(help_options(HELP_TEXT)), 'other': {'seed'}}
    for text, want in README:
        problems = list(check_readme(text, of_help))
        if not (len(problems) == 1 and want in problems[0] if want
                else not problems):
            print(f'self-test: {problems}, not {want!r}')
            failed = 1
    for page, want in CASES:
        with tempfile.TemporaryDirectory() as folder:
            csource.plant(folder, {
                'tools/man/tool.1': page,
                'tool': f"#!/bin/sh\ncat <<'X'\n{HELP_TEXT}X\n"})
            program = os.path.join(folder, 'tool')
            os.chmod(program, stat.S_IRWXU)
            problems = check(folder, program)
        good = (len(problems) == 1 and want in problems[0] if want
                else not problems)
        if not good:
            print(f'self-test: {problems}, not {want!r}')
            failed = 1
    return failed


def main():
    if sys.argv[1:] == ['--self-test']:
        return self_test()
    if len(sys.argv) < 3:
        print(f'usage: {sys.argv[0]} ROOT PROGRAM... | --self-test')
        return 2
    programs = sys.argv[2:]
    missing = [p for p in programs if not os.path.exists(p)]
    if missing:
        print('SKIP: not built: ' + ', '.join(missing))
        return 77
    of_help = {os.path.basename(p): set(help_options(
        csource.output_of([p, '--help'])[1])) for p in programs}
    problems = [problem for program in programs
                for problem in check(sys.argv[1], program)]
    problems += check_readme(csource.read(sys.argv[1], 'README.md'), of_help)
    return csource.report(problems)


if __name__ == '__main__':
    sys.exit(main())
