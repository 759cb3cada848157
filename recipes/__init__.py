"""Runnable lessons, one idea per file, by subject; `python -m recipes list` shows them."""
