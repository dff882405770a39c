#!/usr/bin/env python3
"""Cuts a text of plays into the records that the demonstration trains on.

    make-data.py PLAYS.txt

PLAYS.txt holds speeches with an empty line between them, each with the name of
who speaks and a colon as its first line. Four speeches that follow each other
are a passage, and of the short ones an even choice becomes records
{"text": ...}. Those of the first nine tenths of the text go to plays.jsonl.gz,
those of the last tenth to plays-eval.jsonl.gz, beside this script.
"""
import gzip
import json
import pathlib
import re
import sys

SPEECHES = 4  # in a passage
LONGEST = 700  # characters of a passage: about 300 tokens of the demo's model
TRAIN, EVAL = 420, 40  # records
TRAIN_SHARE = 0.9  # of the text

NAME = re.compile(r'[A-Z][A-Za-z \']*:\n')


def passages(text):
    speeches = [s for s in text.strip().split('\n\n') if NAME.match(s)]
    groups = zip(*[iter(speeches)] * SPEECHES)
    return ['\n\n'.join(g) for g in groups]


def choose(found, count):
    """count of the passages that are short enough, evenly spread."""
    short = [p for p in found if len(p) <= LONGEST]
    return [short[i * len(short) // count] for i in range(count)]


def write(path, records):
    """The same bytes each time: gzip without a name and a date."""
    with open(path, 'wb') as raw:
        with gzip.GzipFile('', 'wb', 9, raw, 0) as packed:
            for record in records:
                line = json.dumps({'text': record}) + '\n'
                packed.write(line.encode('ascii'))


def main(argv):
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    text = pathlib.Path(argv[1]).read_text(encoding='utf-8')
    found = passages(text)
    cut = int(len(found) * TRAIN_SHARE)
    here = pathlib.Path(__file__).resolve().parent
    write(here / 'plays.jsonl.gz', choose(found[:cut], TRAIN))
    write(here / 'plays-eval.jsonl.gz', choose(found[cut:], EVAL))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
