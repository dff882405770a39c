#!/usr/bin/env python3
"""terminal.py COLUMNS COMMAND...: runs a command with a terminal of so many
columns as its standard error, and prints what it was sent there."""
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios


def main(columns, *command):
    ours, theirs = pty.openpty()
    size = struct.pack('HHHH', 24, int(columns), 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL,
                          stderr=theirs) as process:
        os.close(theirs)
        sent = b''
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            sent += part
    sys.stdout.buffer.write(sent)
    return process.returncode


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
