"""Slack's rate limits, as far as its documents tell them: for the stand-in, switched on by `slack.limits.on = True`.

One message a second in a channel, with short bursts; a method of tier 3 (`chat.update`, `conversations.history`,
`conversations.replies`) fifty times a minute in a workspace.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

BURST: Final = 4
POSTS_PER_S: Final = 1.0
TIER_3: Final = 50
MINUTE_S: Final = 60.0


class Limits:
    """What Slack would still take. `refused` counts what it has sent away; `now` gives seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.on = False
        self.now = now
        self.refused = 0
        self._posts: dict[str, tuple[float, float]] = {}
        self._calls: dict[str, deque[float]] = {}

    def post(self, channel: str) -> float | None:
        """Count a message to `channel`; seconds to wait when it is one too many."""
        if not self.on:
            return None
        now = self.now()
        left, since = self._posts.get(channel, (float(BURST), now))
        left = min(BURST, left + (now - since) * POSTS_PER_S)
        if left < 1:
            return self._away((1 - left) / POSTS_PER_S)
        self._posts[channel] = (left - 1, now)
        return None

    def call(self, method: str) -> float | None:
        """Count a call of a method of tier 3; seconds to wait when it is one too many."""
        if not self.on:
            return None
        now, calls = self.now(), self._calls.setdefault(method, deque())
        while calls and calls[0] <= now - MINUTE_S:
            calls.popleft()
        if len(calls) >= TIER_3:
            return self._away(calls[0] + MINUTE_S - now)
        calls.append(now)
        return None

    def _away(self, seconds: float) -> float:
        self.refused += 1
        return seconds
