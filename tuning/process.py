"""The process of one trial: python -m tuning.process PARENT RECIPE FOLDER

It imports what the recipe needs and waits for a line of JSON, {"flags": [...], "output": PATH}; then it
runs the recipe with these flags, all output going to that file. So it can be started while the trial before
trains, and its trial does not wait for TensorFlow. It ends without that line if there is no more trial, and
with the process that started it, however that ends. FOLDER, the search's, only tells whose process it is.
"""
import contextlib
import ctypes
import importlib
import json
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1           # <linux/prctl.h>


def end_with(parent):
    """Asks Linux to kill this process when its parent has ended; other systems leave it running."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:                           # it has ended already
            os._exit(1)


def prepare(recipe):
    """Imports a recipe by name, and with it TensorFlow; a file of one's own is left until it is run."""
    if recipe.endswith(".py"):
        return
    from recipes.catalog import cards
    from training.start_up import import_tensorflow
    import_tensorflow()
    importlib.import_module(f"recipes.{cards()[recipe].path.parent.name}.{recipe}")


def redirect(path):
    """From here on, all output goes to the end of that file, and there is no input."""
    with open(path, "ab") as output, open(os.devnull, "rb") as nothing:
        for stream, number in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(stream.fileno(), number)


def main(arguments):
    parent, recipe, _ = arguments
    end_with(int(parent))
    with contextlib.suppress(Exception):                     # it comes again, into the trial's output
        prepare(recipe)
    line = sys.stdin.readline()
    if not line:
        return 0
    order = json.loads(line)
    redirect(order["output"])
    if recipe.endswith(".py"):
        sys.argv = [recipe, *order["flags"]]
        runpy.run_path(recipe, run_name="__main__")
        return 0
    from recipes.__main__ import main as run
    return run(["run", recipe, *order["flags"]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
