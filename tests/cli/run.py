#!/usr/bin/env python3
"""Runs a case as a user would type it, and compares what came of it.

    run.py CASE.sh FOLDER...    FOLDERs with programs go in front of PATH
    run.py --self-test

CASE.sh runs under sh -eu in a fresh folder that is its working directory and
its HOME. Beside it may lie
    CASE.exit          the exit code; 0 if there is no such file
    CASE.stdout.glob   what stdout must look like; unchecked if there is none
    CASE.stderr.glob   the same for stderr
In a glob, * stands for any text within a line, ? for one character, and a line
that is just ... for any number of lines. All else stands for itself.
Exit code 77 that the case does not expect means: skipped.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile


def line_pattern(line):
    special = {'*': '.*', '?': '.'}
    return ''.join(special.get(c, re.escape(c)) for c in line)


def matches(glob, text):
    """True if the whole text looks like the glob."""
    lines = glob.split('\n')
    if lines and lines[-1] == '':
        lines.pop()
    pattern = ''
    for line in lines:
        if line == '...':
            pattern += r'(?:[^\n]*\n)*'
        else:
            pattern += line_pattern(line) + r'\n'
    if text and not text.endswith('\n'):
        text += '\n'
    return re.fullmatch(pattern, text) is not None


def environment(folders, scratch):
    env = dict(os.environ)
    env['PATH'] = os.pathsep.join(
        [os.path.abspath(f) for f in folders] + [env.get('PATH', '')])
    env['HOME'] = scratch
    env['LC_ALL'] = 'C.UTF-8'
    env.pop('COLUMNS', None)
    for name in ('QL_SOURCE', 'QL_SHARED'):
        if env.get(name):
            env[name] = os.path.abspath(env[name])
    return env


def read_or(path, default):
    return path.read_text(encoding='utf-8') if path.exists() else default


def run_case(case, folders, report):
    """Returns 0 (as expected), 1 or 77 (skipped)."""
    case = pathlib.Path(case).resolve()
    with tempfile.TemporaryDirectory(prefix='qlora-cli-') as scratch:
        done = subprocess.run(
            ['sh', '-eu', str(case)], cwd=scratch, stdin=subprocess.DEVNULL,
            env=environment(folders, scratch), capture_output=True,
            check=False)
    out = {'stdout': done.stdout.decode('utf-8', 'replace'),
           'stderr': done.stderr.decode('utf-8', 'replace')}
    want = int(read_or(case.with_suffix('.exit'), '0'))
    wrong = []
    if done.returncode == 77 and want != 77:
        report(f'SKIP: {out["stdout"]}{out["stderr"]}')
        return 77
    if done.returncode != want:
        wrong.append(f'exit code {done.returncode} instead of {want}')
    for stream, text in out.items():
        glob = read_or(case.with_suffix(f'.{stream}.glob'), None)
        if glob is not None and not matches(glob, text):
            wrong.append(f'{stream} is not like {case.stem}.{stream}.glob:\n'
                         f'{glob}')
    if wrong:
        report(f'{case.name}: ' + '\n'.join(wrong))
        for stream, text in out.items():
            report(f'--- {stream}\n{text}')
        return 1
    return 0


SELF_TESTS = [
    # script, files beside it, result
    ('echo hi', {}, 0),
    ('exit 3', {}, 1),
    ('exit 3', {'.exit': '3\n'}, 0),
    ('echo hi', {'.exit': '3\n'}, 1),
    ('exit 77', {}, 77),
    ('exit 77', {'.exit': '77\n'}, 0),
    ('false; true', {}, 1),
    ('echo "$NOT_SET"', {}, 1),
    ('echo a [b]; echo c', {'.stdout.glob': 'a [b]\nc\n'}, 0),
    ('echo a [b]; echo c', {'.stdout.glob': 'a [b]\n'}, 1),
    ('echo a b', {'.stdout.glob': 'a\n'}, 1),
    ('printf a', {'.stdout.glob': 'a\n'}, 0),
    ('printf "1\\n2\\n3\\n"', {'.stdout.glob': '1\n...\n3\n'}, 0),
    ('printf "1\\n3\\n"', {'.stdout.glob': '1\n...\n3\n'}, 0),
    ('printf "1\\n2\\n"', {'.stdout.glob': '1\n...\n3\n'}, 1),
    ('echo took 1.5 s', {'.stdout.glob': 'took * s\n'}, 0),
    ('echo a; echo b', {'.stdout.glob': 'a*b\n'}, 1),
    ('echo e >&2', {'.stderr.glob': 'e\n', '.stdout.glob': ''}, 0),
    ('echo e >&2', {'.stderr.glob': ''}, 1),
    ('echo e', {'.stdout.glob': ''}, 1),
    ('tool', {}, 0),
    ('test -z "$(ls)" && test "$HOME" = "$PWD"', {}, 0),
]


def self_test():
    failed = 0
    for script, files, want in SELF_TESTS:
        with tempfile.TemporaryDirectory() as folder:
            base = pathlib.Path(folder)
            (base / 'case.sh').write_text(script + '\n')
            for suffix, text in files.items():
                (base / f'case{suffix}').write_text(text)
            (base / 'bin').mkdir()
            (base / 'bin' / 'tool').write_text('#!/bin/sh\nexit 0\n')
            (base / 'bin' / 'tool').chmod(0o755)
            got = run_case(base / 'case.sh', [base / 'bin'], lambda text: None)
        if got != want:
            print(f'self-test: {script!r} {files} gave {got}, not {want}')
            failed = 1
    return failed


def main(argv):
    # When time is up, meson sends SIGTERM, and SIGKILL if that is not enough:
    # that reaches what a case started, too.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    if argv[1:] == ['--self-test']:
        return self_test()
    if len(argv) < 2:
        print(__doc__)
        return 2
    return run_case(argv[1], argv[2:], print)


if __name__ == '__main__':
    sys.exit(main(sys.argv))
