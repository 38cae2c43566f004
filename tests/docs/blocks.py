"""The fenced blocks of a Markdown page, with the remark that stands above them."""

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"(?:^<!-- *(?P<remark>skip|slow): *(?P<reason>.+?) *-->\n+)?"
    r"^(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The file.
        line: Where its text begins, from 1.
        language: What stands behind the fence.
        text: What is inside.
        remark: "skip" or "slow" if `<!-- skip: reason -->` or `<!-- slow: reason -->` is above it.
        reason: The reason given there.
    """

    page: Path
    line: int
    language: str
    text: str
    remark: str | None
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order."""
    content = page.read_text()
    return [
        Block(
            page,
            content.count("\n", 0, match.start("text")) + 1,
            match["language"],
            match["text"],
            match["remark"],
            match["reason"],
        )
        for match in FENCE.finditer(content)
    ]
