"""Enough of C to judge its form: tokens with lines, comments, directives,
functions, and how deep the statements of a function are nested."""
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

Token = collections.namedtuple('Token', 'kind text line')

ROOMS = ('src', 'quant', 'include', 'tests', 'tools')

# kind: comment, line_comment, directive, string, char, name, number, punct
TOKEN = re.compile(r'''
    (?P<comment>/\*.*?\*/)
  | (?P<line_comment>//(?:\\\n|[^\n])*)
  | (?P<string>(?:u8|[uUL])?"(?:\\.|[^"\\\n])*")
  | (?P<char>[uUL]?'(?:\\.|[^'\\\n])*')
  | (?P<name>[A-Za-z_]\w*)
  | (?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
  | (?P<space>[ \t\r\f\v]+|\\\n)
  | (?P<newline>\n)
  | (?P<punct>.)
''', re.VERBOSE | re.DOTALL)


def lex(text, line=1):
    """All tokens but blanks. A directive is one token, comments inside it cut
    out and given on their own, so that a macro's body is not code."""
    tokens = []
    directive = None
    fresh = True  # nothing but blanks so far on this line
    for m in TOKEN.finditer(text):
        kind, part = m.lastgroup, m.group()
        if kind == 'newline':
            if directive:
                tokens.append(Token('directive', directive[0], directive[1]))
            directive, fresh = None, True
        elif kind in ('comment', 'line_comment'):
            tokens.append(Token(kind, part, line))
            if directive:
                directive[0] += ' '
        elif directive:
            directive[0] += part
        elif kind == 'punct' and part == '#' and fresh:
            directive = [part, line]
        elif kind != 'space':
            tokens.append(Token(kind, part, line))
            fresh = False
        line += part.count('\n')
    if directive:
        tokens.append(Token('directive', directive[0], directive[1]))
    return tokens


def code_of(tokens):
    """Without comments and directives."""
    skip = ('comment', 'line_comment', 'directive')
    return [t for t in tokens if t.kind not in skip]


def includes(tokens):
    """(spelling with its delimiters, line) of each #include."""
    for t in tokens:
        m = re.match(r'#\s*include\s*(<[^>]*>|"[^"]*")', t.text)
        if t.kind == 'directive' and m:
            yield m.group(1), t.line


def match(code, i):
    """Index of the bracket that closes the one at i, or the last token."""
    depth = 0
    for j in range(i, len(code)):
        if code[j].text in ('(', '[', '{') and code[j].kind == 'punct':
            depth += 1
        elif code[j].text in (')', ']', '}') and code[j].kind == 'punct':
            depth -= 1
            if depth == 0:
                return j
    return len(code) - 1


def strip_attributes(tokens):
    out, i = [], 0
    while i < len(tokens):
        if tokens[i].text == '__attribute__' and i + 1 < len(tokens):
            i = match(tokens, i + 1) + 1
        else:
            out.append(tokens[i])
            i += 1
    return out


Function = collections.namedtuple('Function',
                                  'name line length params depth')


def functions(tokens):
    """Every function that is defined."""
    code = code_of(tokens)
    start = i = 0
    while i < len(code):
        t = code[i]
        if t.text == ';':
            start = i + 1
        elif t.text in ('(', '['):
            i = match(code, i)
        elif t.text == '{':
            end = match(code, i)
            head = strip_attributes(code[start:i])
            if head and head[-1].text == ')' and not has_equals(head):
                yield describe(head, code, i, end)
                start = end + 1
            i = end
        i += 1


def has_equals(head):
    depth = 0
    for t in head:
        depth += (t.text in ('(', '[')) - (t.text in (')', ']'))
        if depth == 0 and t.text == '=' and t.kind == 'punct':
            return True
    return False


def describe(head, code, opening, end):
    depth = 0
    for j in range(len(head) - 1, -1, -1):
        depth += (head[j].text == ')') - (head[j].text == '(')
        if depth == 0:
            break
    name = head[j - 1].text if j > 0 else '?'
    return Function(name, head[0].line,
                    code[end].line - head[0].line + 1,
                    count_params(head[j + 1:-1]),
                    deepest(code, opening, end))


def count_params(inner):
    if not inner or [t.text for t in inner] == ['void']:
        return 0
    depth, n = 0, 1
    for t in inner:
        depth += (t.text in ('(', '[')) - (t.text in (')', ']'))
        n += t.text == ',' and depth == 0
    return n


class Nesting:
    """Walks the statements of one function body."""

    def __init__(self, code, end):
        self.code, self.end, self.deepest = code, end, 0

    def text(self, i):
        return self.code[i].text if i < self.end else ''

    def block(self, i, depth):
        """i is at {; returns the index after its }."""
        self.deepest = max(self.deepest, depth)
        end = match(self.code, i)
        i += 1
        while i < end:
            i = self.statement(i, depth)
        return end + 1

    def inner(self, i, depth):
        """The statement that a control statement at depth governs."""
        if self.text(i) == '{':
            return self.block(i, depth + 1)
        self.deepest = max(self.deepest, depth + 1)
        return self.statement(i, depth + 1)

    def statement(self, i, depth):
        t = self.text(i)
        if t == '{':
            return self.block(i, depth + 1)
        if t == 'if':
            return self.branch(i, depth)
        if t in ('for', 'while', 'switch'):
            return self.inner(match(self.code, i + 1) + 1, depth)
        if t == 'do':
            i = self.inner(i + 1, depth)
            return match(self.code, i + 1) + 2
        if t == 'case':
            return self.label(i)
        if self.text(i + 1) == ':' and self.code[i].kind == 'name':
            return i + 2
        return self.expression(i, depth)

    def branch(self, i, depth):
        i = self.inner(match(self.code, i + 1) + 1, depth)
        if self.text(i) == 'else':
            if self.text(i + 1) == 'if':
                return self.branch(i + 1, depth)
            return self.inner(i + 1, depth)
        return i

    def label(self, i):
        questions = 0
        while i < self.end:
            questions += self.text(i) == '?'
            if self.text(i) == ':':
                if questions == 0:
                    return i + 1
                questions -= 1
            i += 1
        return i

    def expression(self, i, depth):
        first = i
        while i < self.end and self.text(i) != ';':
            if self.text(i) in ('(', '[', '{'):
                i = match(self.code, i)
                if (i > first + 1 and self.text(first + 1) == '('
                        and match(self.code, first + 1) == i
                        and self.code[first].kind == 'name'
                        and self.text(i + 1) == '{'):
                    return self.block(i + 1, depth + 1)  # FOREACH(x) {
            i += 1
        return i + 1


def deepest(code, opening, end):
    """Blocks and control statements within each other; a plain body is 0."""
    walk = Nesting(code, end)
    walk.block(opening, 0)
    return walk.deepest


def files(root, suffixes, rooms=ROOMS):
    """Paths below the rooms, relative to the root, in order."""
    found = []
    for room in rooms:
        for folder, dirs, names in os.walk(os.path.join(root, room)):
            dirs[:] = sorted(d for d in dirs if not d.startswith(('.', '__')))
            for name in sorted(names):
                if name.endswith(suffixes):
                    path = os.path.join(folder, name)
                    found.append(os.path.relpath(path, root))
    return found


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8', newline='') as f:
        return f.read()


def report(problems):
    for p in problems:
        print(p)
    return 1 if problems else 0


def plant(folder, tree):
    """Writes {path: text} below a folder."""
    for path, text in tree.items():
        where = pathlib.Path(folder, path)
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text, encoding='utf-8', newline='')


def self_test(check, cases):
    """check(root) -> problems. A case is (tree, text that one of exactly one
    problem must hold, or None for a clean tree)."""
    failed = 0
    for tree, want in cases:
        with tempfile.TemporaryDirectory() as folder:
            plant(folder, tree)
            problems = check(folder)
        good = (len(problems) == 1 and want in problems[0] if want
                else not problems)
        if not good:
            print(f'self-test: {tree}\n  gave {problems}\n  not {want!r}')
            failed = 1
    return failed


def main(check, cases):
    """script.py ROOT | --self-test"""
    if sys.argv[1:] == ['--self-test']:
        return self_test(check, cases)
    if len(sys.argv) != 2:
        print(f'usage: {sys.argv[0]} ROOT | --self-test')
        return 2
    return report(check(sys.argv[1]))


def output_of(command, **kwargs):
    """(exit code, stdout and stderr together) of a command."""
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **kwargs)
    return done.returncode, done.stdout.decode('utf-8', 'replace')
