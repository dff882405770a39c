#!/usr/bin/env python3
"""All C text is as clang-format would leave it."""
import os
import shutil
import sys

import csource

# Releases differ in what they do with the same settings.
RELEASE = '14'


def tool():
    """The clang-format of our release, or None."""
    for name in (f'clang-format-{RELEASE}', 'clang-format'):
        if shutil.which(name):
            _, text = csource.output_of([name, '--version'])
            if f'version {RELEASE}.' in text:
                return name
    return None


def check(root):
    sources = csource.files(root, ('.c', '.h'))
    if not sources:
        return []
    code, text = csource.output_of(
        [tool(), '--style=file', '--dry-run', '-Werror'] + sources, cwd=root)
    if code == 0:
        return []
    first = {}
    for line in text.split('\n'):
        if 'error:' in line:
            first.setdefault(line.split(':')[0], line)
    return list(first.values()) or [text]


STYLE = 'BasedOnStyle: LLVM\nIndentWidth: 4\n'
CASES = [
    ({'.clang-format': STYLE, 'src/a.c': 'int f(void) { return 1; }\n'},
     None),
    ({'.clang-format': STYLE, 'src/a.c': 'int f(void) { return  1; }\n'},
     'src/a.c:1:'),
    ({'.clang-format': STYLE, 'tools/cli/a.h': 'int  f(void);\n'},
     'tools/cli/a.h:1:'),
]


def main():
    if not tool():
        print(f'SKIP: no clang-format {RELEASE} on this machine')
        return 77
    return csource.main(check, CASES)


if __name__ == '__main__':
    os.environ['LC_ALL'] = 'C.UTF-8'
    sys.exit(main())
