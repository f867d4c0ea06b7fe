"""Samples as metrics, in few words."""

from collections.abc import Iterable
from datetime import datetime

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

Shown = Metric
"""One metric with its samples."""
Sample = tuple[tuple[str, ...], float]
"""The labels' values, and the value."""


def gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Shown:
    """What stands at some value now."""
    return _filled(GaugeMetricFamily(name, text, labels=labels), samples)


def counter(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Shown:
    """What only grows; its samples are named with `_total`."""
    return _filled(CounterMetricFamily(name, text, labels=labels), samples)


def age(since: datetime | None, now: datetime) -> float:
    """Seconds from then to now; 0 for never."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Iterable[Sample]) -> Shown:
    for values, value in samples:
        family.add_metric(values, value)
    return family
