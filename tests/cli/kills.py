#!/usr/bin/env python3
"""kills.py KILLS: runs of a few trainings that are killed by SIGKILL at random
moments, so many in all, and begun again each time, end as one that was not
killed: the same weights, checkpoints, best weights and samples to the byte, and
the same log in every form that it is written in, but for times and memory.
Where they take the place of an adapter, that is there, whole, until it is
replaced. QL_SEED replays the moments."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import reports

LORA = ['--lora-r', '2']
OVERWRITE = '--overwrite-output-dir'
WAYS = [LORA,
        ['--method', 'full'],
        [*LORA, '--optim', 'adamw_8bit', '--save-total-limit', '1'],
        [*LORA, '--optim', 'paged_adamw_32bit', '--optimizer-memory', '8000'],
        [*LORA, '--lora-dropout', '0.1', '--use-dora'],
        [*LORA, '--init-lora-weights', 'pissa', '--save-total-limit', '0'],
        [*LORA, OVERWRITE]]
SAME = ('.safetensors', '.bin', 'config.json', 'samples.json')
CLOCK = {'elapsed', 'eval_runtime', 'peak_rss_bytes', 'rss_bytes', 'seconds',
         'tokens_per_second', 'train_runtime', 'train_tokens_per_second'}
COLUMNS = 7  # of metrics.csv; those behind are speed and memory


def command(out, way):
    return ['qlora-train', '--model', 'd', '--data', 'data.jsonl', '--output',
            out, '--eval-split', '3', '--threads', '1', '--no-packing',
            '--learning-rate', '2e-2', '--max-steps', '12',
            '--gradient-accumulation-steps', '2', '--logging-steps', '1',
            '--eval-steps', '2', '--save-steps', '1', '--sample-prompts', '1',
            '--lr-scheduler-type', 'reduce_lr_on_plateau',
            '--lr-scheduler-kwargs', '{"patience": 0, "factor": 0.5}', *way]


def start(out, way):
    # what a killed run says on the way is of no interest
    return subprocess.Popen(command(out, way), stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)


def timeless(value):
    """The same without what the clock and the machine say."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in CLOCK}
    if isinstance(value, list):
        return [timeless(v) for v in value]
    return value


def log_of(out):
    with open(f'{out}/metrics.csv', encoding='utf-8') as f:
        lines = [line.split(',')[:COLUMNS] for line in f]
    with open(f'{out}/trainer_state.json', encoding='utf-8') as f:
        state = timeless(json.load(f))
    best = state.pop('best_model_checkpoint')
    assert os.path.normpath(best) == f'{out}/best', best
    return lines, state


def content(path):
    with open(path, 'rb') as f:
        return f.read()


def names(out):
    """Of all files, but those of TensorBoard: each start has one."""
    found = [os.path.relpath(os.path.join(folder, name), out)
             for folder, _, files in os.walk(out) for name in files]
    return sorted(n for n in found if not n.startswith('runs/'))


def check_same(want, out):
    assert names(want) == names(out), (names(want), names(out))
    for name in names(want):
        if name.endswith(SAME):
            assert content(f'{want}/{name}') == content(f'{out}/{name}'), name
    assert log_of(want) == log_of(out), (log_of(want), log_of(out))
    reports.main(out)


def is_done(code, said):
    """A run came to its end, or the one before it did, which was killed after
    its last change of a file."""
    return code == 0 or code == 2 and re.search('holds an? .* already', said)


def finish(out, way):
    """A run to its end: the seconds that it took."""
    began = time.monotonic()
    process = start(out, way)
    said = process.communicate()[1]
    assert is_done(process.returncode, said), (process.returncode, said)
    return time.monotonic() - began


def begin(out, way):
    """The folder that is written to, if it is there before."""
    if OVERWRITE in way:
        shutil.copytree('old', out)


def check_kept(out, way):
    """After a kill an adapter is the old one or the new one."""
    name = 'adapter_model.safetensors'
    if OVERWRITE in way and os.path.exists(f'{out}/adapter_config.json'):
        assert content(f'{out}/{name}') in (content(f'old/{name}'),
                                            content(f'whole/{name}')), out


def run_killed(out, way, pick, longest, most):
    """Kills, but not more often, until a run is faster. Returns how often."""
    kills = 0
    while kills < most:
        process = start(out, way)
        try:
            said = process.communicate(timeout=pick.uniform(0, longest))[1]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            said = process.communicate()[1]
        if is_done(process.returncode, said):
            return kills
        assert process.returncode == -signal.SIGKILL, (process.returncode,
                                                       said)
        check_kept(out, way)
        kills += 1
    finish(out, way)
    return kills


def kill_often(way, pick, wanted):
    """Runs of one training until they were killed so often."""
    took = finish('whole', way)
    if OVERWRITE in way:
        finish('old', [*way, '--seed', '1'])
    longest = 0.5 * took
    kills = ends = 0
    while kills < wanted:
        begin('out', way)
        hits = run_killed('out', way, pick, longest, wanted - kills)
        kills += hits
        if not hits:  # the first run was slower than others are
            longest *= 0.8
        check_same('whole', 'out')
        shutil.rmtree('out')
        ends += 1
    shutil.rmtree('whole')
    shutil.rmtree('old', ignore_errors=True)
    print(f'{" ".join(way)}: {kills} kills, {ends} runs, {took:.2f} s a run')


def main(wanted):
    seed = int(os.environ.get('QL_SEED', '1'))
    pick = random.Random(seed)
    print(f'seed {seed}')
    for i, way in enumerate(WAYS):
        first, end = (wanted * k // len(WAYS) for k in (i, i + 1))
        kill_often(way, pick, end - first)


if __name__ == '__main__':
    main(int(sys.argv[1]))
