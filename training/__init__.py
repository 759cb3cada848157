"""What every run shares: command line, devices, fit with resume, run folder, report."""
from training.command_line import launch
from training.run import Run

__all__ = ["Run", "launch"]
