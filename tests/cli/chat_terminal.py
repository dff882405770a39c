#!/usr/bin/env python3
"""chat_terminal.py COMMAND...: talks to a command on a terminal of its own: it
answers, Ctrl-C stops an answer and not the program, Ctrl-D ends it."""
import os
import pty
import select
import subprocess
import sys
import time

WAIT_S = 120


class Talk:
    def __init__(self, command):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)))
        os.close(theirs)
        self.text = ''

    def until(self, *parts, end=''):
        """Reads until the text has all parts in order, and ends with end."""
        deadline = time.monotonic() + WAIT_S
        while True:
            at = 0
            for part in parts:
                at = self.text.find(part, at)
                if at < 0:
                    break
                at += len(part)
            if at >= 0 and self.text.endswith(end):
                text, self.text = self.text, ''
                return text
            ready = select.select([self.ours], [], [], 1)[0]
            if ready:
                try:
                    self.text += os.read(self.ours, 65536).decode()
                except OSError as e:
                    raise RuntimeError(f"it ended: {self.text!r}") from e
            if time.monotonic() > deadline:
                raise RuntimeError(f'waited for {parts}: {self.text!r}')

    def say(self, text):
        os.write(self.ours, text.encode())


def main(*command):
    talk = Talk(command)
    talk.until('Ctrl-D ends', end='> ')
    talk.say('Hello\n')
    talk.until('text: 5 tokens', end='> ')
    talk.say('/system Be kind.\n')
    talk.until('/system', end='> ')
    talk.say('/nonsense\n')
    talk.until('no such command', '/reset', end='> ')
    talk.say('half a line\x03')
    talk.until('Ctrl-D or /exit ends', end='> ')
    talk.say('Hello\\\n')
    talk.until('> ', end='> ')
    talk.say('there\n')
    talk.until('text: 5 tokens', end='> ')
    talk.say('a ' * 600 + '\n')
    talk.until('shorten it', '/reset begins anew', end='> ')
    talk.say('\x04')
    return talk.process.wait(WAIT_S)


def stopped(*command):
    """An answer that would be long is stopped; what follows is done. Where it
    was complete sooner, another one is tried."""
    talk = Talk([*command, '--max-new-tokens', '1000000'])
    talk.until('Ctrl-D ends', end='> ')
    for _ in range(50):
        talk.say('Hello\n')
        talk.until('Hello\r\n')
        time.sleep(0.02)
        talk.say('\x03')
        talk.say('/reset\n/help\n')
        text = talk.until('Ctrl-C stops an answer', end='> ')
        if 'text: ' in text and 'cut off' not in text:
            talk.say('/exit\n')
            return talk.process.wait(WAIT_S)
    raise RuntimeError('no answer was stopped')


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:], '--max-new-tokens', '5') or
             stopped(*sys.argv[1:]))
