"""What others reached on ScienceQA's 4,241 test problems, in percent, as they published it.

Imports nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = (
    "Published: LLaVA and GPT-4 in arXiv 2304.08485, table 7; LLaVA-1.5 in arXiv 2310.03744; "
    "people and chance in ScienceQA's own leaderboard."
)
TEST_PROBLEMS = 4241
# In the order of scoring.GROUPS.
_ROWS = {
    "LLaVA 13B": (90.36, 95.95, 88.00, 89.49, 88.00, 90.66, 90.93, 90.90, 90.92),
    "LLaVA 13B, GPT-4 complement": (90.36, 95.50, 88.55, 89.05, 87.80, 91.08, 92.22, 88.73, 90.97),
    "LLaVA 13B, GPT-4 judge": (91.56, 96.74, 91.09, 90.62, 88.99, 93.52, 92.73, 92.16, 92.53),
    "GPT-4, text only": (84.06, 73.45, 87.36, 81.87, 70.75, 90.73, 84.69, 79.10, 82.69),
    "people": (90.23, 84.97, 87.48, 89.60, 87.50, 88.10, 91.59, 82.42, 88.40),
    "chance": (40.28, 46.13, 29.25, 47.45, 40.08, 33.66, 39.35, 40.67, 39.83),
}
_NAMES = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12", "Average")

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    **{name: dict(zip(_NAMES, row, strict=True)) for name, row in _ROWS.items()},
    "LLaVA-1.5 7B": {"IMG": 66.8},
    "LLaVA-1.5 13B": {"IMG": 71.6},
}
