"""Words that more than one message needs."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """1 pass, 2 passes; 1 seed, 2 seeds."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}{'es' if noun.endswith('s') else 's'}"
