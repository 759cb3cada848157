"""Trials in processes of their own, which do not wait for TensorFlow.

python -m tuning.process PARENT RECIPE FOLDER imports what the recipe needs, once. For each line of JSON that
it then reads, {"flags": [...], "output": PATH}, it forks a process that runs the recipe with these flags, all
output going to that file; it answers with a line for the process's number and, when that has ended, one for
its exit status. It ends when there are no more lines, and with the process that started it, however that
ends; so do the trials with it. FOLDER, the search's, only tells whose process it is.

A fork copies the calling thread alone, and a GPU that has been opened is of no use to the copy. So nothing
is computed before, and TensorFlow is not yet asked for its devices. Where the imports have started threads
all the same, and on other systems than Linux, the process runs its first trial itself and ends with it.

Starter is the other end, in the worker.
"""
import ast
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1           # <linux/prctl.h>
ROOT = Path(__file__).parent.parent


class Starter:
    """Starts the trials of a recipe, one at a time, from a process that has imported what they need.

    environment: variables that the process has besides our own, or otherwise.
    """

    def __init__(self, recipe, folder, environment=None):
        environment = {**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(
            [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
        # A session of its own: the terminal's ctrl-C comes to the worker alone.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuning.process", str(os.getpid()), recipe, str(folder)], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.answers = b""

    @property
    def gone(self):
        """Whether it can start no more trials."""
        return self.process.poll() is not None

    def start(self, flags, output):
        """Starts a trial, after the imports. Raises BrokenPipeError if the process is gone."""
        self.answers = b""
        self.process.stdin.write(json.dumps({"flags": flags, "output": str(output)}).encode() + b"\n")

    def told(self):
        """What is known of the trial: [], [its process's number], or [number, exit status]."""
        part = self.process.stdout.read(1000)                # None: nothing new
        self.answers += part or b""
        known = [int(line) for line in self.answers.split(b"\n")[:-1]]
        if part == b"" and len(known) < 2:                   # it was killed, or ran the trial itself
            known = [self.process.pid, self.process.wait()]
        return known

    def poll(self):
        """The exit status of the trial, negative for a signal; None while it runs."""
        known = self.told()
        return known[1] if len(known) == 2 else None

    def send(self, number):
        """Sends a signal to the trial's process, if it has begun and not ended."""
        if len(known := self.told()) == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(known[0], number)

    def close(self):
        """Ends the process, and with it a trial that still runs."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()


def end_with(parent):
    """Asks Linux to kill this process when its parent has ended; other systems leave it running."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:                           # it has ended already
            os._exit(1)


def prepare(recipe):
    """Imports a recipe by name, and with it TensorFlow; of a file of one's own what it imports itself."""
    from training.start_up import import_tensorflow, use_onednn
    if recipe.endswith(".py"):
        use_onednn()
        sys.path.insert(0, str(Path(recipe).parent))         # as where Python runs the file
        for name in imports(Path(recipe)):
            importlib.import_module(name)
        return
    from recipes.catalog import cards
    import_tensorflow(devices=False)
    importlib.import_module(f"recipes.{cards()[recipe].path.parent.name}.{recipe}")


def imports(path):
    """The modules that a Python file imports at its top level."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def forkable():
    """Whether a fork of this process has all that it needs, because there is no second thread to be missed.

    Threads that know of forks, like those of OpenBLAS, end before one and come again; so one is made.
    """
    if sys.platform != "linux":
        return False
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:                                          # no /proc here to look into
        return False


def redirect(path):
    """From here on, all output goes to the end of that file, and there is no input."""
    with open(path, "ab") as output, open(os.devnull, "rb") as nothing:
        for stream, number in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(stream.fileno(), number)


def order(answers):
    """Waits for trials and forks a process for each: {"flags", "output"} there, None at the end here."""
    gc.collect()
    gc.freeze()                                              # what is shared stays shared
    starter, forks = os.getpid(), forkable()
    while line := sys.stdin.readline():
        child = os.fork() if forks else starter
        if not child:
            answers.close()
            end_with(starter)
            return json.loads(line)
        print(child, file=answers, flush=True)
        if child == starter:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


def main(arguments):
    parent, recipe, _ = arguments
    end_with(int(parent))
    answers = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "wb") as nothing:                  # for what imports may print
        os.dup2(nothing.fileno(), 1)
    with contextlib.suppress(Exception):                     # it comes again, into the trial's output
        prepare(recipe)
    trial = order(answers)
    if trial is None:
        return 0
    redirect(trial["output"])
    if recipe.endswith(".py"):
        sys.argv = [recipe, *trial["flags"]]
        runpy.run_path(recipe, run_name="__main__")
        return 0
    from recipes.__main__ import main as run
    return run(["run", recipe, *trial["flags"]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
