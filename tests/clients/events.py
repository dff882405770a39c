#!/usr/bin/env python3
"""The event files of a run that was killed and went on, as others' readers see
them: what TensorBoard would show is what trainer_state.json says."""
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

import client

KILLED_AFTER = 4  # steps


def as_float(x):
    return struct.unpack('<f', struct.pack('<f', x))[0]


def shown(rows):
    """(step, {tag: value}) by the names that transformers gives them."""
    for row in rows:
        values = {('eval/' + key[5:] if key.startswith('eval_')
                   else 'train/' + key): as_float(value)
                  for key, value in row.items() if key != 'step'}
        yield row['step'], values


def read(clients, folder):
    """The same of the files: one that begins takes back what others say of
    its first step and those behind it."""
    seen = []
    for path in sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime):
        events = clients.ask('events.mjs', {'file': str(path)})['events']
        assert events[0]['fileVersion'] == 'brain.Event:2', events[0]
        for event in events[1:]:
            assert abs(event['wallTime'] - time.time()) < 1e5, event
            step = event.get('step', 0)
            if 'sessionLog' in event:
                assert event['sessionLog'] == {'status': 'START'}, event
                seen = [s for s in seen if s[0] < step]
            else:
                seen.append((step, {v['tag']: v.get('simpleValue', 0)
                                    for v in event['summary']['value']}))
    return seen


def wait_for(process, path):
    while process.poll() is None and not path.exists():
        time.sleep(0.01)


def tests(tools, clients, scratch):
    demo = pathlib.Path(os.environ['QL_SOURCE']) / 'tools' / 'demo'
    out = scratch / 'out'
    words = [tools / 'qlora-train', '--model', demo / 'stories260K', '--data',
             demo / 'plays-eval.jsonl.gz', '--eval-split', 4, '--eval-steps',
             2, '--max-length', 64, '--max-steps', 10, '--logging-steps', 1,
             '--save-steps', 1, '--gradient-accumulation-steps', 2,
             '--output', out, '--quiet']
    command = [str(word) for word in words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_for(process, out / f'checkpoint-{KILLED_AFTER}')
        process.send_signal(signal.SIGKILL)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with open(out / 'trainer_state.json', encoding='utf-8') as f:
        want = list(shown(json.load(f)['log_history']))
    got = read(clients, out / 'runs')
    files = len(os.listdir(out / 'runs'))
    print(f'{len(want)} rows, {files} files')
    if got != want or files != 2:
        print(got, want)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(client.main(tests))
