#!/usr/bin/env python3
"""Every public header compiles alone, without a warning."""
import os
import sys
import tempfile

import csource

FLAGS = ['-std=c11', '-fsyntax-only', '-Wall', '-Wextra', '-Wpedantic',
         '-Werror', '-Wshadow', '-Wstrict-prototypes', '-Wmissing-prototypes',
         '-Wundef', '-Wvla', '-Wwrite-strings', '-Wcast-qual']


def check(root, compiler):
    problems = []
    headers = csource.files(root, '.h', ('include',))
    if not headers:
        return [f'{root}: no public headers']
    with tempfile.TemporaryDirectory() as folder:
        unit = os.path.join(folder, 'unit.c')
        for header in headers:
            name = header[len('include/'):]
            # Twice: the guard must hold.
            csource.plant(folder, {'unit.c': f'#include "{name}"\n' * 2})
            code, text = csource.output_of(
                compiler + FLAGS + ['-I', os.path.join(root, 'include'), unit])
            if code != 0:
                problems.append(f'{header}: does not stand alone\n{text}')
    return problems


CASES = [
    ({'include/a.h': '#ifndef A\n#define A\n#include <stddef.h>\n'
      'size_t f(void);\n#endif\n'}, None),
    ({'include/a.h': '#ifndef A\n#define A\nsize_t f(void);\n#endif\n'},
     'does not stand alone'),
    ({'include/a.h': '#ifndef A\n#define A\nint f();\n#endif\n'},
     'does not stand alone'),
    ({'include/a.h': 'typedef struct a { int b; } a;\n'},
     'does not stand alone'),
    ({}, 'no public headers'),
]


def main():
    if len(sys.argv) < 3:
        print(f'usage: {sys.argv[0]} ROOT|--self-test COMPILER...')
        return 2
    compiler = sys.argv[2:]
    if sys.argv[1] == '--self-test':
        return csource.self_test(lambda root: check(root, compiler), CASES)
    return csource.report(check(sys.argv[1], compiler))


if __name__ == '__main__':
    sys.exit(main())
