"""Signals answered by a thread of their own."""

import signal
import socket
import threading
from collections.abc import Callable, Mapping

Answers = Mapping[int, Callable[[], None]]


def answer(answers: Answers) -> socket.socket:
    """Have each signal answered at once, one after the other; called in the main thread.

    The system may give a signal to any thread, and the main thread, which runs Python's own handlers, sleeps on then:
    a stop right behind a reload would be heard with the next signal only.

    Args:
        answers: what to do, by the signal's number.

    Returns:
        What carries them; they are heard as long as it is kept.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno())
    for number in answers:
        signal.signal(number, lambda *_: None)
    threading.Thread(target=_listen, args=(heard, answers), name="signals", daemon=True).start()
    return told


def _listen(heard: socket.socket, answers: Answers) -> None:
    while numbers := heard.recv(64):  # each signal is a byte, its number
        for number in numbers:
            answers.get(number, lambda: None)()
