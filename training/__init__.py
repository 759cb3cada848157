"""What every run shares: command line, devices, fit with resume, run folder, report."""
from training.command_line import launch

__all__ = ["Run", "launch"]


def __getattr__(name):
    if name == "Run":                    # later, because it imports TensorFlow; `recipes list` does without
        from training.run import Run
        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
