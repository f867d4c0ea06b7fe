"""What one alert changes about its line: pure decisions on the line as it is and what was heard.

A line that fires takes what is newer, a line that is over fires again by another event or source; whatever is a
repetition, older than what is known, or of a source that was closed by a person, changes nothing.
"""

import msgspec
from msgspec.structs import replace

from tocsin.notifiers.alert import Alert
from tocsin.notifiers.line import Line, Place


class Heard(msgspec.Struct, frozen=True):
    """What follows: the line when it changed, whether there is news in it, and by how much the count of firing moves.

    `joins`: the receiver of a direct alert hears for the first time of what others know already. `late`: the alert
    came after its own end.
    """

    line: Line | None = None
    news: bool = False
    step: int = 0
    joins: bool = False
    late: bool = False


def fired(line: Line | None, alert: Alert, place: Place, receiver: str | None, receivers: tuple[str, ...]) -> Heard:
    """An alert that fires, for the line at `place`. `receiver` of a direct one, `receivers` hear of the incident."""
    if line is None:
        return Heard(_line(alert, place, receiver), news=True, step=int(alert.lasting))
    if line.status in ("firing", "news"):
        return _again(line, alert, receiver, receivers)
    if is_late(line, alert):
        return Heard(late=True)
    return Heard(_renewed(line, alert, receiver, starts=True), news=True, step=int(alert.lasting))


def is_late(line: Line, alert: Alert) -> bool:
    """Whether the alert, which fires, says nothing that the line has not gone through already."""
    if line.status in ("firing", "news"):
        return line.status == "news" and alert.event_id == line.event_id
    if alert.event_id == line.event_id:
        return True
    if line.source != alert.source:  # the clocks of two sources say nothing of their order
        return False
    return line.status == "closed" or (line.ends is not None and alert.at < line.ends)


def ended(line: Line, alert: Alert, *, direct: bool) -> Heard:
    """An alert that is over: only what its own source said is over. A direct message ends in its own words."""
    if line.source != alert.source or line.status not in ("firing", "closed"):
        return Heard()
    over = replace(line, status="resolved", ends=alert.at, ended_by=alert.event_id)
    if direct:
        over = reworded(replace(over, subject=alert.subject, body=alert.body), alert)
    return Heard(over, news=True, step=-1 if line.status == "firing" else 0)


def reworded(line: Line, alert: Alert) -> Line:
    """The line with the words of the alert for the receiver that it names."""
    words = {**line.words, alert.to.name: (alert.event_id, alert.subject, alert.body)}
    return replace(line, words=words)


def _again(line: Line, alert: Alert, receiver: str | None, receivers: tuple[str, ...]) -> Heard:
    if receiver is None:
        if alert.at < line.fired or alert.event_id == line.event_id:
            return Heard()
        same = (alert.subject, alert.body, alert.severity) == (line.subject, line.body, line.severity)
        return Heard(_renewed(line, alert, None, starts=False), news=not same)
    if alert.at < line.fired:  # older than what is known; still, who never heard of it hears now
        return Heard(joins=receiver not in receivers)
    event, subject, body = line.words.get(receiver, (None, "", ""))
    other_words = event == alert.event_id and (subject, body) != (alert.subject, alert.body)
    if alert.event_id != line.event_id or other_words:
        return Heard(_renewed(line, alert, receiver, starts=False), news=True)
    if event == alert.event_id:
        return Heard()
    return Heard(reworded(line, alert), joins=True)


def _renewed(line: Line, alert: Alert, receiver: str | None, *, starts: bool) -> Line:
    fresh = _line(alert, (line.incident_id, line.fingerprint), receiver)
    words = {**line.words, **fresh.words} if receiver else {}
    return replace(fresh, words=words, starts=alert.at if starts else line.starts)


def _line(alert: Alert, place: Place, receiver: str | None) -> Line:
    return Line(
        incident_id=place[0],
        fingerprint=place[1],
        identity=alert.identity,
        source=alert.source,
        status="firing" if alert.lasting else "news",
        severity=alert.severity,
        subject=alert.subject,
        body=alert.body,
        labels=alert.labels,
        items=alert.items,
        total=alert.total,
        words={receiver: (alert.event_id, alert.subject, alert.body)} if receiver else {},
        event_id=alert.event_id,
        ended_by=None,
        starts=alert.at,
        fired=alert.at,
        ends=None,
    )
