"""One trial's process: python -m tuning.process PARENT RECIPE FLAGS...

It runs a recipe, named or by its file, and ends with the process that started it, however that ends.
"""
import ctypes
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


def main(arguments):
    parent, recipe, *flags = arguments
    end_with(int(parent))
    if recipe.endswith(".py"):
        sys.argv = [recipe, *flags]
        runpy.run_path(recipe, run_name="__main__")
        return 0
    from recipes.__main__ import main as run
    return run(["run", recipe, *flags])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
