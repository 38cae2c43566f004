"""What a user got wrong on the command line, said in at most five lines."""

import sys

__all__ = ["FAILED", "INTERRUPTED", "MISTAKE", "TERMINATED", "Mistake", "report"]

FAILED = 1
MISTAKE = 2
INTERRUPTED = 130
TERMINATED = 143
LINES = 5
WIDTH = 400


class Mistake(Exception):
    """A mistake seen before anything heavy is imported: what is wrong, and what to do."""

    def __init__(self, wrong: str, remedy: str = "") -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.remedy = remedy


def report(program: str, message: str, remedy: str = "") -> int:
    """Write the sentence to standard error, five lines at most, and return the exit status."""
    lines = [line.rstrip() for line in f"error: {message}".splitlines() if line.strip()]
    room = LINES - bool(remedy)
    lines = [line if len(line) <= WIDTH else f"{line[:WIDTH]} ..." for line in lines[:room]]
    if remedy:
        lines.append(remedy)
    lines[0] = f"{program}: {lines[0]}"
    sys.stderr.write("\n".join(lines) + "\n")
    return MISTAKE
