"""The guide's transcripts as data: a rule per line, and what a real run's texts have to do with them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_EVENTS = _HERE.parents[1] / "docs" / "events.md"
REQUIRED, IF_SEEN, FREE = ">", "?", "."


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a transcript and its rule."""

    rule: str
    text: str

    def matches(self, text: str) -> bool:
        return pattern(self.text).fullmatch(text) is not None


def transcript(name: str) -> tuple[Line, ...]:
    """A transcript of the guide by file name."""
    lines = _content((_HERE / "transcripts" / f"{name}.txt").read_text())
    return tuple(Line(line[0], line[2:]) for line in lines)


def pattern(text: str) -> re.Pattern[str]:
    """`<word>` stands for anything, `<number>` for two decimals."""
    parts = re.split(r"(<[a-z]+>)", text)
    return re.compile("".join(_part(part) for part in parts), re.DOTALL)


def _part(part: str) -> str:
    if part == "<number>":
        return r"\d+\.\d\d"
    return ".+" if re.fullmatch(r"<[a-z]+>", part) else re.escape(part)


def differences(lines: Sequence[Line], told: Iterable[str]) -> list[str]:
    """What is wrong with these texts, in words; empty when the story was told as the guide tells it."""
    found, texts = [], list(told)
    position = 0
    for line in lines:
        if line.rule != REQUIRED:
            continue
        hit = next((index for index in range(position, len(texts)) if line.matches(texts[index])), None)
        if hit is None:
            found.append(f"missing after {texts[position - 1] if position else 'the start'!r}: {line.text}")
        else:
            position = hit + 1
    return found + [f"told {count} times: {text}" for text, count in _repeated(lines, texts)]


def _repeated(lines: Sequence[Line], texts: Sequence[str]) -> list[tuple[str, int]]:
    """What was told more than once between two required lines: a state is seen once each time it comes up."""
    found, segment = [], Counter[str]()
    for text in (*texts, None):
        if text is None or any(line.rule == REQUIRED and line.matches(text) for line in lines):
            found += [(each, count) for each, count in segment.items() if count > 1]
            segment = Counter()
        elif any(line.rule == IF_SEEN and line.matches(text) for line in lines):
            segment[text] += 1
    return found


def unknown(told: Iterable[str]) -> list[str]:
    """Texts that neither Flagger has nor docs/events.md lists."""
    known = [pattern(line) for line in _content((_HERE / "transcripts" / "flagger.txt").read_text())]
    known += [pattern(_placeholders(text)) for text in documented()]
    return [text for text in told if not any(each.fullmatch(text) for each in known)]


def documented() -> list[str]:
    """The texts of the first table of docs/events.md."""
    rows = (line for line in _EVENTS.read_text().splitlines() if line.startswith("| `"))
    return [row.split("`")[1] for row in rows]


def _placeholders(text: str) -> str:
    """`N.NS`, `<field>` and … of the page as placeholders."""
    text = re.sub(r"<[^>]*>|…", "<any>", text)
    return re.sub(r"\b(T-primary|[NTH])\b(\.NS)?", "<any>", text)


def _content(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]
