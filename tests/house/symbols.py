#!/usr/bin/env python3
"""Every symbol that the library defines for others begins with ql_."""
import os
import shutil
import sys
import tempfile

import csource

# Ours, what a sanitizer adds for each global of ours, the lock of a named
# OpenMP critical section, whose name must be ours too, and that which clang
# makes for reductions.
ALLOWED = ('ql_', '__odr_asan', '.gomp_critical_user_ql_',
           '.gomp_critical_user_.reduction.var')


def strangers(listing):
    for line in listing.split('\n'):
        fields = line.split()
        if len(fields) == 3 and not fields[2].startswith(ALLOWED):
            yield f'{fields[2]}: a symbol that does not begin with ql_'


def check(archive):
    code, listing = csource.output_of(
        ['nm', '-g', '--defined-only', archive])
    if code != 0:
        return [listing.strip()]
    if ' T ql_' not in listing:
        return [f'{archive}: defines no function of ours']
    return list(strangers(listing))


CRITICAL = """int g(void);
void ql_a(void)
{{
#pragma omp critical {}
    g();
}}
"""


def self_test():
    compiler = shutil.which('cc') or shutil.which('gcc')
    if not compiler or not shutil.which('nm'):
        print('SKIP: no compiler or no nm')
        return 77
    failed = 0
    for text, want in (
            ('void ql_a(void) {}\nstatic int b;\nint ql_c = 1;', None),
            ('void ql_a(void) {}\nint helper = 1;', 'helper: a symbol'),
            ('void ql_a(void) {}\nvoid aql_b(void) {}', 'aql_b: a symbol'),
            (CRITICAL.format('(ql_a)'), None),
            (CRITICAL.format('(other)'), 'user_other: a symbol'),
            ('static int b;', 'defines no function of ours')):
        with tempfile.TemporaryDirectory() as folder:
            csource.plant(folder, {'a.c': text + '\n'})
            target = os.path.join(folder, 'a.o')
            csource.output_of([compiler, '-fopenmp', '-c', '-o', target,
                               os.path.join(folder, 'a.c')])
            problems = check(target)
        if len(problems) != bool(want) or (want and want not in problems[0]):
            print(f'self-test: {text!r} gave {problems}, not {want!r}')
            failed = 1
    return failed


def main():
    if sys.argv[1:] == ['--self-test']:
        return self_test()
    if len(sys.argv) != 2:
        print(f'usage: {sys.argv[0]} ARCHIVE | --self-test')
        return 2
    return csource.report(check(sys.argv[1]))


if __name__ == '__main__':
    sys.exit(main())
