#!/usr/bin/env python3
"""kills.py KILLS: runs of one training that are killed by SIGKILL at random
moments, so many in all, and begun again each time, end as one that was not
killed: the same adapter, checkpoint, best adapter and samples to the byte, and
the same log in every form that it is written in, but for times and memory.
QL_SEED replays the moments."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import reports

SAME = ['adapter_model.safetensors', 'adapter_config.json',
        'samples.json', 'best/adapter_model.safetensors',
        'checkpoint-12/optimizer.bin',
        'checkpoint-12/adapter_model.safetensors']
CLOCK = {'elapsed', 'eval_runtime', 'peak_rss_bytes', 'rss_bytes', 'seconds',
         'tokens_per_second', 'train_runtime', 'train_tokens_per_second'}
COLUMNS = 7  # of metrics.csv; those behind are speed and memory


def command(out):
    return ['qlora-train', '--model', 'd', '--data', 'data.jsonl', '--output',
            out, '--eval-split', '3', '--threads', '1', '--no-packing',
            '--lora-r', '2', '--learning-rate', '2e-2', '--max-steps', '12',
            '--gradient-accumulation-steps', '2', '--logging-steps', '1',
            '--eval-steps', '2', '--save-steps', '1', '--sample-prompts', '1',
            '--lr-scheduler-type', 'reduce_lr_on_plateau',
            '--lr-scheduler-kwargs', '{"patience": 0, "factor": 0.5}']


def start(out):
    # what a killed run says on the way is of no interest
    return subprocess.Popen(command(out), stdout=subprocess.DEVNULL,
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
    return sorted(n for n in os.listdir(out) if n != 'runs')


def check_same(want, out):
    for name in SAME:
        assert content(f'{want}/{name}') == content(f'{out}/{name}'), name
    assert log_of(want) == log_of(out), (log_of(want), log_of(out))
    assert names(want) == names(out), (names(want), names(out))
    reports.main(out)


def is_done(code, said):
    """A run came to its end, or the one before it did, which was killed after
    its last change of a file."""
    return code == 0 or code == 2 and 'holds an adapter already' in said


def finish(out):
    """A run to its end: the seconds that it took."""
    began = time.monotonic()
    process = start(out)
    said = process.communicate()[1]
    assert is_done(process.returncode, said), (process.returncode, said)
    return time.monotonic() - began


def run_killed(out, pick, longest, most):
    """Kills, but not more often, until a run is faster. Returns how often."""
    kills = 0
    while kills < most:
        process = start(out)
        try:
            said = process.communicate(timeout=pick.uniform(0, longest))[1]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            said = process.communicate()[1]
        if is_done(process.returncode, said):
            return kills
        assert process.returncode == -signal.SIGKILL, (process.returncode,
                                                       said)
        kills += 1
    finish(out)
    return kills


def main(wanted):
    seed = int(os.environ.get('QL_SEED', '1'))
    pick = random.Random(seed)
    took = finish('whole')
    longest = 0.5 * took
    kills = ends = 0
    while kills < wanted:
        hits = run_killed('out', pick, longest, wanted - kills)
        kills += hits
        if not hits:  # the first run was slower than others are
            longest *= 0.8
        check_same('whole', 'out')
        shutil.rmtree('out')
        ends += 1
    print(f'seed {seed}: {kills} kills, {ends} runs, {took:.2f} s a run')


if __name__ == '__main__':
    main(int(sys.argv[1]))
