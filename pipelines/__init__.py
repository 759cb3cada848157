"""Data sets, one per file, as an endless training stream and finite validation and test splits."""
