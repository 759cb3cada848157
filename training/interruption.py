"""Ctrl-C and SIGTERM: the first asks a training to stop and save, the second ends it at once."""
import os
import signal
import sys
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as ctrl-C does."""


class StopRequest:
    """In its context, asked is the number of the signal that asked for a stop, or None.

    The handler of a signal only runs when TensorFlow returns to Python; a thread of its
    own therefore reads the signals, says at once what will happen, and ends the process
    at the second one. Outside the main thread signals are left alone.
    """

    def __init__(self):
        self.asked = None

    def __enter__(self):
        self.active = threading.current_thread() is threading.main_thread()
        if self.active:
            self.reader, self.writer = os.pipe()
            os.set_blocking(self.writer, False)
            self.handlers = {number: signal.signal(number, self.note) for number in SIGNALS
                             if signal.getsignal(number) is not signal.SIG_IGN}
            self.descriptor = signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
            self.thread = threading.Thread(target=self.watch, daemon=True)
            self.thread.start()
        return self

    def __exit__(self, *error):
        if self.active:
            signal.set_wakeup_fd(self.descriptor)
            for number, handler in self.handlers.items():
                signal.signal(number, handler)
            os.write(self.writer, b"\0")                          # no signal has this number
            self.thread.join()
            os.close(self.reader)
            os.close(self.writer)

    def note(self, number, frame):
        """Replaces the handlers that would raise in the middle of an update."""
        self.asked = self.asked or number

    def watch(self):
        received = 0
        while number := os.read(self.reader, 1)[0]:
            if number not in SIGNALS:
                continue
            received += 1
            if received > 1:
                os._exit(128 + number)
            self.asked = number
            print("\nstopping: this update is finished and saved first; ctrl-C again stops at once",
                  file=sys.stderr, flush=True)

    def error(self, message=""):
        """The exception that ends the run, as the signal would have."""
        return (KeyboardInterrupt if self.asked == signal.SIGINT else Terminated)(message)
