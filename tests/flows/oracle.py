"""What becomes of a run that somebody proposes a state to: the design's table and its rules, written a second time.

This knows nothing of `tocsin.flows.decide`: it is what `decide` is compared with, case by case.
"""

from dataclasses import dataclass
from typing import Final

# One letter a cell: x under any name, c only Cached, r only Retrying, a only AwaitingRetry, m only Resuming.
GRID: Final = """
            SCHEDULED PENDING RUNNING PAUSED CANCELLING COMPLETED FAILED CRASHED CANCELLED
new         x         x       x       .      .          .         .      .       .
SCHEDULED   x         x       .       x      .          .         x      .       x
PENDING     x         .       x       x      x          c         x      x       x
RUNNING     a         .       r       x      x          x         x      x       .
PAUSED      m         .       .       .      x          .         x      .       x
CANCELLING  .         .       .       .      .          x         .      x       x
FAILED      x         .       .       .      .          .         .      .       .
CRASHED     x         .       .       .      .          .         .      .       .
COMPLETED   x         .       .       .      .          .         .      .       .
CANCELLED   x         .       .       .      .          .         .      .       .
"""
ONLY: Final = {"c": "Cached", "r": "Retrying", "a": "AwaitingRetry", "m": "Resuming"}
OVER: Final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def cells() -> dict[tuple[str, str], str]:
    """The grid: from and to, and the letter where they meet."""
    head, *lines = GRID.strip().splitlines()
    return {
        (origin, goal): letter
        for origin, *letters in (line.split() for line in lines)
        for goal, letter in zip(head.split(), letters, strict=True)
    }


CELLS: Final = cells()


@dataclass(frozen=True)
class Case:
    """A run, and what somebody proposes. `reports`: as whom (None: an outsider)."""

    origin: str
    origin_name: str
    goal: str
    goal_name: str
    reports: str | None  # "current" or "former" attempt
    lease: bool
    due: bool
    retries_left: bool
    budget: str | None  # "left" or "used"
    forced: bool
    unbound: bool
    known: bool = False  # the very same step was accepted before


@dataclass(frozen=True)
class Outcome:
    """`says` accept, wait or refuse; if accepted, the state, and by how much each counter grows."""

    says: str
    goal: str = ""
    name: str = ""
    attempt: int = 0
    retries: int = 0
    reruns: int = 0


REFUSED: Final = Outcome("refuse")


def expected(case: Case) -> Outcome:
    """What the design says."""
    if case.known and case.origin != "new":
        return Outcome("accept", case.origin, case.origin_name)
    goal, name = case.goal, case.goal_name
    if case.origin == "CANCELLING" and goal in ("FAILED", "CRASHED") and case.lease:
        goal, name = "CANCELLED", "Cancelled"
    if not (_in_grid(case.origin, goal, name) or _by_force(case, goal)) or not _may_report(case):
        return REFUSED
    if case.origin == "SCHEDULED" and goal == "PENDING" and not case.due:
        return Outcome("wait")
    if case.origin == "RUNNING" and goal == "FAILED" and case.retries_left:
        goal, name = "SCHEDULED", "AwaitingRetry"
    elif case.origin in OVER and not _may_run_again(case):
        return REFUSED
    return Outcome("accept", goal, name, _claims(case, goal), _tries_again(case, goal), _starts_over(case, goal))


def _in_grid(origin: str, goal: str, name: str) -> bool:
    letter = CELLS[origin, goal]
    return letter == "x" or (letter in ONLY and name == ONLY[letter])


def _by_force(case: Case, goal: str) -> bool:
    return case.unbound and case.origin != "new" and (goal in OVER or goal == "SCHEDULED")


def _may_report(case: Case) -> bool:
    return case.reports is None or (case.reports == "current" and case.lease)


def _may_run_again(case: Case) -> bool:
    wanted = case.origin in ("COMPLETED", "CANCELLED")
    return (case.forced or not wanted) and case.budget != "used"


def _claims(case: Case, goal: str) -> int:
    if goal == "PENDING":  # the process that stood still goes on under the claim that it has
        return int(not (case.origin_name == "Resuming" and case.reports == "current"))
    return int(goal == "RUNNING" and case.origin in ("new", "RUNNING"))


def _tries_again(case: Case, goal: str) -> int:
    """The proposed states of these cases carry a fault: a retry is the run's own."""
    return int(case.origin == "RUNNING" and goal in ("RUNNING", "SCHEDULED"))


def _starts_over(case: Case, goal: str) -> int:
    return int(case.origin in OVER and goal == "SCHEDULED")
