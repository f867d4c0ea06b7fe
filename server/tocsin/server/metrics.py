"""What Prometheus reads: the readings as metrics, in the form that the scraper asks for."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import product
from typing import Final, assert_never

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tocsin.notifiers.tally_figures import BUCKETS, OUTCOMES, REASONS, Counter, Figure, Histogram
from tocsin.server.metric_forms import age, gauge
from tocsin.server.metrics_reads import Readings, Waiting
from tocsin.server.metrics_work import shown

_COUNTERS: Final[dict[Counter, tuple[str, str, tuple[str, ...]]]] = {
    "attempts": ("tocsin_delivery_attempts", "Attempts to tell a receiver, by outcome.", ("receiver", "outcome")),
    "dead": ("tocsin_delivery_dead", "Deliveries given up: dead letters.", ("receiver",)),
    "suppressed": ("tocsin_incident_suppressed", "Times that something began to keep an incident quiet.", ("reason",)),
    "flapping": ("tocsin_incident_flapping", "Incidents found to be flapping.", ()),
    "escalated": ("tocsin_incident_escalations", "Steps of escalation taken.", ()),
}
_HISTOGRAMS: Final[dict[Histogram, tuple[str, str]]] = {
    "told": (
        "tocsin_event_to_delivered_seconds",
        "From when the event was received until its incident's first word was delivered to the receiver.",
    ),
    "waited": (
        "tocsin_delivery_wait_seconds",
        "How long a delivery was due before its turn came: its receiver's rate, or others in front of it.",
    ),
}


class _Readings(Collector):
    def __init__(self, known: Readings) -> None:
        self._known = known

    def collect(self) -> Iterator[Metric]:
        """Every metric; one without any samples is described all the same."""
        yield from _counted(self._known)
        yield from _telling(self._known)
        yield from _deciding(self._known)
        yield from shown(self._known.work, self._known.at)
        yield from _caching(self._known)


def exposition(known: Readings, accept: str) -> tuple[bytes, str]:
    """The readings as a document, and its content type: text, or OpenMetrics to whom `accept` says so."""
    encode, content_type = choose_encoder(accept)
    return encode(_Readings(known)), content_type


def _counted(known: Readings) -> Iterator[Metric]:
    kinds: dict[str, list[Figure]] = defaultdict(list)
    for figure in known.counted:
        kinds[figure.kind].append(figure)
    for kind, (name, text, labels) in _COUNTERS.items():
        counter = CounterMetricFamily(name, text, labels=labels)
        counts = dict.fromkeys(_expected(kind, known.receivers), 0)
        counts |= {_labels(kind, figure): figure.times for figure in kinds[kind]}
        for values, count in sorted(counts.items()):
            counter.add_metric(values, count)
        yield counter
    for histogram, (name, text) in _HISTOGRAMS.items():
        yield _histogram(name, text, kinds[histogram])


def _expected(kind: Counter, receivers: Iterable[str]) -> list[tuple[str, ...]]:
    """The labels that begin at nothing, so that the first time is seen as a rise."""
    match kind:
        case "attempts":
            return list(product(receivers, OUTCOMES))
        case "dead":
            return [(receiver,) for receiver in receivers]
        case "suppressed":
            return [(reason,) for reason in REASONS]
        case "flapping" | "escalated":
            return [()]
        case _:
            assert_never(kind)


def _labels(kind: Counter, figure: Figure) -> tuple[str, ...]:
    match kind:
        case "attempts":
            return figure.receiver, figure.label
        case "dead":
            return (figure.receiver,)
        case "suppressed":
            return (figure.label,)
        case "flapping" | "escalated":
            return ()
        case _:
            assert_never(kind)


def _histogram(name: str, text: str, figures: Iterable[Figure]) -> Metric:
    found: dict[str, dict[str, Figure]] = defaultdict(dict)
    for figure in figures:
        found[figure.receiver][figure.label] = figure
    metric = HistogramMetricFamily(name, text, labels=["receiver"])
    for receiver, buckets in found.items():
        total_ms = sum(figure.total_ms for figure in buckets.values())
        metric.add_metric([receiver], list(_cumulated(buckets)), total_ms / 1000)
    return metric


def _cumulated(buckets: dict[str, Figure]) -> Iterator[tuple[str, float]]:
    """Bound and count of all that took so long or less."""
    count = 0
    for label in BUCKETS:
        count += buckets[label].times if label in buckets else 0
        yield label if label == BUCKETS[-1] else str(float(label)), count


def _telling(known: Readings) -> Iterator[Metric]:
    outbox = [((queue.receiver, queue.state), float(queue.size)) for queue in known.outbox]
    yield gauge("tocsin_outbox_deliveries", "Deliveries that are not over yet.", ("receiver", "state"), outbox)
    since: dict[str, datetime] = {}
    for queue in known.outbox:
        since[queue.receiver] = min(queue.since, since.get(queue.receiver, queue.since))
    ages = [((receiver,), age(at, known.at)) for receiver, at in since.items()]
    text = "How long the receiver has been waiting for the oldest delivery that is not over."
    yield gauge("tocsin_outbox_oldest_seconds", text, ("receiver",), ages)
    waits = [((receiver,), until.timestamp()) for receiver, until in known.told_to_wait]
    text = "Until when the receiver asked to be left alone (Unix time); no sample while it does not."
    yield gauge("tocsin_receiver_wait_until_timestamp_seconds", text, ("receiver",), waits)
    there = [((state, severity), float(count)) for state, severity, count in known.incidents]
    yield gauge("tocsin_incidents", "Incidents that are not over.", ("state", "severity"), there)
    yield from _waiting("tocsin_incidents_due", "Incidents whose turn has come and was not taken.", known.turns, known)


def _deciding(known: Readings) -> Iterator[Metric]:
    entries = [((behind.consumer,), float(behind.entries)) for behind in known.behind]
    text = "Entries of the log that the group has not handled; a number that was never used counts too."
    yield gauge("tocsin_log_behind_entries", text, ("consumer",), entries)
    ages = [((behind.consumer,), age(behind.since, known.at)) for behind in known.behind]
    text = "How long ago the first of these entries was recorded."
    yield gauge("tocsin_log_behind_seconds", text, ("consumer",), ages)
    text = "Actions of automations that are due and not carried out."
    yield from _waiting("tocsin_invocations_due", text, known.invocations, known)
    yield gauge("tocsin_invocations_failed", "Actions of automations that failed for good.", (), [((), known.failed)])
    text = "Schedules whose next tick should have been sent."
    yield from _waiting("tocsin_schedules_late", text, known.ticks, known)


def _caching(known: Readings) -> Iterator[Metric]:
    yield gauge(
        "tocsin_cache_entries", "Cached results, expired ones until they are cleared.", (), [((), known.cached)]
    )
    text = "Keys whose result a task run computes, for which others may wait."
    yield from _waiting("tocsin_cache_flights", text, known.flights, known)
    text = "Runs of the last hour that are over, of tasks that took a cached result."
    totals = [((effect.task_key,), float(effect.total)) for effect in known.effects]
    yield gauge("tocsin_cache_task_runs", text, ("task",), totals)
    skipped = [((effect.task_key,), float(effect.skipped)) for effect in known.effects]
    yield gauge("tocsin_cache_skipped_runs", "Those of them that took a cached result.", ("task",), skipped)
    ratios = [((effect.task_key,), effect.ratio) for effect in known.effects]
    yield gauge("tocsin_cache_effectiveness_ratio", "Skipped runs / runs of the last hour.", ("task",), ratios)


def _waiting(name: str, text: str, waiting: Waiting, known: Readings) -> Iterator[Metric]:
    yield gauge(name, text, (), [((), waiting.size)])
    yield gauge(f"{name}_seconds", f"{text} The longest, for so long.", (), [((), age(waiting.since, known.at))])
