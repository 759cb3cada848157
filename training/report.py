"""report.html of a run: one file that opens anywhere."""


def write(folder):
    return None
