"""The questions that the index asks of one event, each of them once."""

from collections.abc import Iterable

from tocsin.automations.buckets import Asks, Bucket, Entry, Group
from tocsin.automations.residual import Answer, Condition
from tocsin.events.model import Event


class Questions:
    """What is asked of one event, each question once.

    `found` takes who is met; `failed` whose question failed, with the reason, each group once.
    """

    __slots__ = ("_answers", "_event", "failed", "found")

    def __init__(self, event: Event, found: list[Entry]) -> None:
        self._event = event
        self._answers: dict[str, Answer] = {}
        self.found = found
        self.failed: dict[int, tuple[Group, str]] = {}

    def ask(self, asks: Iterable[Asks]) -> None:
        """Go through what is left to ask."""
        for one in asks:
            for ladder in one.ladders.values():
                self._climb(ladder.reached(self._event))
            for condition, group in one.groups.items():
                if condition.fits is None or condition.fits(self._event):
                    self._sort(self._answer(condition), group)

    def _climb(self, buckets: Iterable[Bucket]) -> None:
        for bucket in buckets:
            self.found += bucket.plain
            if bucket.asks is not None:
                self.ask((bucket.asks,))

    def _sort(self, answer: Answer, group: Group) -> None:
        if answer is True:
            self.found += group.entries
        elif answer is not False:
            self.failed[id(group)] = group, answer

    def _answer(self, condition: Condition) -> Answer:
        answer = self._answers.get(condition.question)
        if answer is None:
            answer = self._answers[condition.question] = condition.answer(self._event)
        return answer
