"""What the documents show: their fenced blocks, links and commands, and what the compiler says to the specs in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from leec import driver
from leec.diagnostics import Source
from leec.diagnostics.render import render

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"(?:<!-- (\S+) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MISUSE = re.compile(r"(?<=^```lee\n)((?:(?!^```$).)*?)(^```\n\n^```text\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A block between three backticks: its language, its text, and the file that a comment before it names."""

    kind: str
    text: str
    line: int
    file: str


def document(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fences(text: str) -> list[Fence]:
    found = FENCE.finditer(text)
    return [Fence(m[2], m[3], text.count("\n", 0, m.start(2)) + 1, m[1] or "") for m in found]


def excerpts(text: str) -> list[tuple[str, str]]:
    """(path, text) of the blocks that stand in a file of the project."""
    return [(f.file, f.text) for f in fences(text) if (ROOT / f.file).is_file() and f.file]


def commands(text: str) -> set[str]:
    """The commands of leec that blocks use."""
    return {c for f in fences(text) for c in re.findall(r"^(?:\$ )?leec (\w+)", f.text, re.MULTILINE)}


def paths(text: str) -> set[str]:
    """The files of the project that are mentioned."""
    return set(re.findall(r"`((?:leec|tests|specs|docs)/[\w./]+)`", text))


def links(name: str) -> list[str]:
    """Targets of a document's links that lead nowhere: files that are absent, headings that a file has not."""
    prose = re.sub(r"`[^`\n]*`", "code", FENCE.sub("", document(name)))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        file, _, heading = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        if not path.exists() or heading and heading not in anchors(path.read_text(encoding="utf-8")):
            broken.append(target)
    return broken


def anchors(text: str) -> set[str]:
    """What the headings of a document are called in links."""
    return {anchor(h) for h in re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)}


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def report(spec: str) -> str:
    """All diagnostics of a spec as a terminal shows them."""
    return "\n\n".join(render(d) for d in driver.check(Source("spec.lee", spec))) + "\n"


def told(text: str) -> str:
    """The document with the true report below every spec that is misused."""
    return MISUSE.sub(lambda m: m[1] + m[2] + report(m[1]), text)
