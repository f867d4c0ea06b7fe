"""Days times times of day: the wall times of one period, without writing them all down."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class Grid:
    """Every combination of `days`, `hours`, `minutes` and `seconds`, numbered from 0 in time order.

    Each of the four is ascending, none is empty.
    """

    days: Sequence[date]
    hours: Sequence[int]
    minutes: Sequence[int]
    seconds: Sequence[int]

    def __len__(self) -> int:
        return len(self.days) * len(self.hours) * len(self.minutes) * len(self.seconds)

    def __getitem__(self, index: int) -> datetime:
        index, second = divmod(index, len(self.seconds))
        index, minute = divmod(index, len(self.minutes))
        day, hour = divmod(index, len(self.hours))
        found = self.days[day]
        clock = self.hours[hour], self.minutes[minute], self.seconds[second]
        return datetime(found.year, found.month, found.day, *clock)  # noqa: DTZ001 - a wall time

    def __iter__(self) -> Iterator[datetime]:
        return (
            datetime(day.year, day.month, day.day, hour, minute, second)  # noqa: DTZ001 - a wall time
            for day in self.days
            for hour in self.hours
            for minute in self.minutes
            for second in self.seconds
        )

    def since(self, wall: datetime) -> Iterator[datetime]:
        """The wall times from `wall` on, that one included."""
        skipped = self.index(wall)
        return (self[index] for index in range(skipped, len(self))) if skipped else iter(self)

    def index(self, wall: datetime) -> int:
        """How many come before `wall`."""
        second = wall.second + (wall.microsecond > 0)
        index = bisect_left(self.days, wall.date())
        equal = index < len(self.days) and self.days[index] == wall.date()
        for values, value in ((self.hours, wall.hour), (self.minutes, wall.minute), (self.seconds, second)):
            place = bisect_left(values, value) if equal else 0
            equal = equal and place < len(values) and values[place] == value
            index = index * len(values) + place
        return index
