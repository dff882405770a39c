#!/usr/bin/env python3
"""Runs a command that must not take more memory or time than it may.

    bounded.py MEBIBYTES SECONDS COMMAND...

Ends as the command does; with 99 where it took more memory. Seconds are those
of the processor, at which the command is killed."""
import resource
import subprocess
import sys


def main():
    mebibytes, seconds = int(sys.argv[1]), int(sys.argv[2])
    code = subprocess.call(
        sys.argv[3:], preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_CPU, (seconds, seconds)))
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    if used > mebibytes:
        sys.stderr.write(f'took {used} MiB, more than {mebibytes}\n')
        return 99
    return code if code >= 0 else 128 - code


sys.exit(main())
