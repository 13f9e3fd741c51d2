"""Bars as SVG, written by hand: no plotting library for a handful of pictures."""

from html import escape
from typing import Final

from tests.bench.figures import Spread

WIDTH: Final = 760
LABEL: Final = 250
ROW: Final = 26
TEXT_ROOM: Final = 150
_COLOUR: Final = {"swanherd": "#1a7f5a", "limit": "#555555"}
_OTHER: Final = "#b0563a"
_HEAD: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">'
)


def bars(title: str, rows: list[tuple[str, str, Spread | None]], *, unit: str) -> str:
    """One bar a row (who, label, spread), with a line from the least to the most; None: it did not happen."""
    top = max((spread.most for _, _, spread in rows if spread), default=1.0) or 1.0
    room = WIDTH - LABEL - TEXT_ROOM
    lines = [
        _HEAD.format(width=WIDTH, height=ROW * (len(rows) + 2)),
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (who, label, spread) in enumerate(rows, start=1):
        y = ROW * number + 8
        lines.append(f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>')
        if spread is None:
            lines.append(f'<text x="{LABEL}" y="{y + 15}" fill="{_OTHER}">not in every run while it was watched</text>')
            continue
        bar = max(1.0, spread.middle / top * room)
        least, most = (LABEL + value / top * room for value in (spread.least, spread.most))
        lines += [
            f'<rect x="{LABEL}" y="{y}" width="{bar:.1f}" height="{ROW - 8}" fill="{_COLOUR.get(who, _OTHER)}"/>',
            f'<line x1="{least:.1f}" x2="{most:.1f}" y1="{y + 9}" y2="{y + 9}" stroke="black" stroke-width="2"/>',
            f'<text x="{max(LABEL + bar, most) + 6:.1f}" y="{y + 15}">{spread.middle:,.0f} {escape(unit)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
