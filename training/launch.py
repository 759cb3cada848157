"""Several workers on this machine: python -m training.launch --workers N -- python -m recipes run ...

Starts the command N times, each with its TF_CONFIG, and ends them all together. Where one
dies, all are started again and go on from the last checkpoint. What one reads is the
chief's (worker 0's) output; of the others only what they write to stderr, with their index.
"""
import argparse
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from training.addresses import is_loopback
from training.command_line import fail

# With one of these statuses all is done, would fail again (2, and 3: a loss that is not finite), or was
# stopped: nothing is started anew.
FINAL = (0, 2, 3, 128 + signal.SIGHUP, 128 + signal.SIGINT, 128 + signal.SIGTERM)
LOST_PEER_STATUS = 75          # as in multi_worker, which this module does without: it imports TensorFlow
PR_SET_PDEATHSIG = 1           # <linux/prctl.h>


def main(arguments):
    """Runs the workers and returns the exit status of all: 0, the stop's, or the first failing worker's."""
    options, command = read(arguments)
    command, folder = prepared(command)
    with Signals() as signals:
        for restart in range(options.restarts + 1):
            resumed = restart and folder is not None and (folder / "config.json").exists()
            index, status = run([*command, "--resume"] if resumed and "--resume" not in command else command,
                                options, signals)
            if status in FINAL:
                return status
            what = f"worker {index} {ending(status)}"
            if restart < options.restarts:
                count = f"{restart + 1} of at most {options.restarts}"
                print(f"launch: {what}; all workers start again ({count})", file=sys.stderr, flush=True)
    where = f" Go on with the same command and --resume --run-dir {folder}" if folder else ""
    print(f"error: {what}, after {options.restarts} restarts.{where}", file=sys.stderr)
    return 128 - status if status < 0 else status


def read(arguments):
    """(options, command) of a command line with -- between them; ends the process if there is none."""
    parser = argparse.ArgumentParser(
        prog="python -m training.launch", usage="%(prog)s --workers N [options] -- COMMAND",
        description="Trains with several processes on this machine. For several machines: docs/cluster.md.")
    parser.add_argument("--workers", type=int, required=True, metavar="N", help="processes to start")
    parser.add_argument("--restarts", type=int, default=3, metavar="R",
                        help="start all again when one dies, at most so often (default: 3)")
    parser.add_argument("--host", default="127.0.0.1",
                        help="this machine's name for the workers; ports are open on loopback only unless "
                             "this is another address")
    parser.add_argument("--gpus", action="store_true", help="give worker i the GPU i alone")
    parser.add_argument("--grace", type=float, default=30, metavar="SECONDS",
                        help="between asking workers to end and killing them (default: 30)")
    parser.error = fail
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options, command = parser.parse_args(arguments[:cut]), arguments[cut + 1:]
    if not command:
        fail("name the command of the workers after --, as in: "
             "python -m training.launch --workers 2 -- python -m recipes run mlp_mnist")
    for name, least in (("workers", 1), ("restarts", 0), ("grace", 0)):
        if getattr(options, name) < least:
            fail(f"--{name} must be at least {least}. Received: {getattr(options, name)}")
    return options, command


def prepared(command):
    """(command, run folder or None); a recipe is given the folder and strategy that it does not name.

    All workers of a recipe need the same run folder, and by default its name has the time.
    """
    command, folder = list(command), option(command, "--run-dir")
    if "recipes" in command[:-2] and command[command.index("recipes") + 1] == "run":
        if not folder:
            folder = f"runs/{command[command.index('recipes') + 2]}-{time.strftime('%Y%m%d-%H%M%S')}"
            command += ["--run-dir", folder]
        if not option(command, "--strategy"):
            command += ["--strategy", "multi_worker"]
    return command, Path(folder) if folder else None


def option(command, name):
    """The value of `name value` or `name=value` in a command, or ""."""
    for index, argument in enumerate(command):
        if argument == name and index + 1 < len(command):
            return command[index + 1]
        if argument.startswith(name + "="):
            return argument.split("=", 1)[1]
    return ""


def run(command, options, signals):
    """Runs all workers once, to the end of all: (index of the one that decided, its status or -signal).

    A signal to this process goes to all workers. After the first that fails, the others
    notice by themselves that they lost it, and say so; whoever has not ended after a sixth
    of the grace gets SIGTERM, and after the grace, as after a signal, SIGKILL.
    """
    workers, decided, ends = [], None, []                    # ends: [(time, signal for those who still run)]
    ports = free_ports(options.workers)
    try:
        for index in range(options.workers):
            try:
                workers.append(Worker(index, command, ports, options))
            except OSError as error:
                fail(f"the command cannot be started: {command[0]}: {error.strerror}")
        while any(worker.running for worker in workers):
            received = signals.wait(ends[0][0] - time.monotonic() if ends else None)
            for number in received - {signal.SIGCHLD}:
                decided = 0, 128 + number
                ends = ends[-1:] or [(time.monotonic() + options.grace, signal.SIGKILL)]
                for worker in workers:
                    worker.send(signal.SIGTERM if number == signal.SIGHUP else number)
            failed = [(worker.index, worker.status) for worker in workers if worker.status]
            if failed and decided is None:
                # Those that lost a peer follow another's end.
                decided = min(failed, key=lambda one: one[1] == LOST_PEER_STATUS)
                ends = [(time.monotonic() + options.grace / 6, signal.SIGTERM),
                        (time.monotonic() + options.grace, signal.SIGKILL)]
            if ends and time.monotonic() >= ends[0][0]:
                for worker in workers:
                    worker.send(ends[0][1])
                ends = ends[1:] or [(time.monotonic() + 60, signal.SIGKILL)]
        return decided or (0, 0)
    finally:
        for worker in workers:
            worker.end()


class Worker:
    """One process in a process group of its own, so that the terminal's ctrl-C does not reach it twice."""

    def __init__(self, index, command, ports, options):
        addresses = [f"[{options.host}]:{port}" if ":" in options.host else f"{options.host}:{port}"
                     for port in ports]
        environment = {**os.environ, "TF_CONFIG": json.dumps(
            {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})}
        if options.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(index)
        if is_loopback(options.host):
            environment.setdefault("NCCL_SOCKET_IFNAME", "lo")
        self.index = index
        others = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, process_group=0,
                                        preexec_fn=die_with_parent(), **(others if index else {}))
        self.reader = threading.Thread(target=self.pass_on, daemon=True)
        self.reader.start()

    def pass_on(self):
        """Copies stderr with the index before each line; the chief's goes where this process's goes."""
        for line in self.process.stderr or ():
            sys.stderr.write(f"[{self.index}] {line}")
            sys.stderr.flush()

    @property
    def status(self):
        return self.process.poll()

    @property
    def running(self):
        return self.status is None

    def send(self, number):
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def end(self):
        """Kills what is left of the group, and waits."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join(timeout=5)


class Signals:
    """Signals to this process, and ends of its children, to be waited for."""
    NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

    def __enter__(self):
        self.reader, writer = socket.socketpair()
        self.writer = writer
        self.reader.setblocking(False)
        writer.setblocking(False)
        self.wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self.before = {number: signal.signal(number, lambda *_: None) for number in self.NUMBERS}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self.wakeup)
        self.reader.close()
        self.writer.close()

    def wait(self, seconds):
        """The set of signals that have come, or an empty one after so many seconds (None: no limit)."""
        select.select([self.reader], [], [], None if seconds is None else max(0.0, seconds))
        try:
            return set(map(signal.Signals, self.reader.recv(4096)))
        except BlockingIOError:
            return set()


def die_with_parent():
    """What a child does before it starts: ask Linux to kill it when this process ends, however it ends."""
    if sys.platform != "linux":
        return None
    library, parent = ctypes.CDLL(None), os.getpid()

    def ask():
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:               # it has ended already
            os._exit(1)
    return ask


def free_ports(count):
    """Ports that nothing listens on. Should another take one first, its worker fails and all start again."""
    with contextlib.ExitStack() as sockets:
        opened = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in opened]


def ending(status):
    """How a process ended, in words, from its exit status as subprocess gives it."""
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
