"""A mark in the home folder by which a health check sees that a role's event loop still turns."""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

EVERY_S: Final = 3.0


async def beat(home: Path, roles: list[str], stop: asyncio.Event) -> None:
    """Touch each role's mark every three seconds until `stop`; then take the marks away."""
    marks = [_mark(home, role) for role in roles]
    while not stop.is_set():
        for mark in marks:
            mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.touch()
        try:
            async with asyncio.timeout(EVERY_S):
                await stop.wait()
        except TimeoutError:
            continue
    for role in roles:
        _mark(home, role).unlink(missing_ok=True)
        _figures(home, role).unlink(missing_ok=True)


def age(home: Path, role: str) -> timedelta | None:
    """How long ago a role's loop turned last, or None when it has not run here, or was stopped in order."""
    try:
        return timedelta(seconds=max(0.0, time.time() - _mark(home, role).stat().st_mtime))
    except OSError:
        return None


def note(home: Path, role: str, figures: Mapping[str, int]) -> None:
    """Write down how a role fares, beside its mark."""
    place = _figures(home, role)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = place.with_suffix(".new")
    fresh.write_text(json.dumps(figures))
    fresh.replace(place)


def noted(home: Path, role: str) -> dict[str, int]:
    """How a role said last that it fares; empty when it never did."""
    try:
        found: dict[str, int] = json.loads(_figures(home, role).read_text())
    except (OSError, ValueError):
        return {}
    return found


def _figures(home: Path, role: str) -> Path:
    return home / "pulse" / f"{role}.json"


def _mark(home: Path, role: str) -> Path:
    return home / "pulse" / role
