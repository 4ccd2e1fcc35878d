"""Metrics of a server, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keras_disent.serving.pool import Pool

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics(Collector):
    """Metrics of a server, in a registry of their own.

    Args:
        pool: Workers, whose state is read when the metrics are.
    """

    def __init__(self, pool: Pool):
        self.pool = pool
        self.registry = CollectorRegistry()
        labels = ("endpoint", "protocol")
        self.requests = Counter(
            "keras_disent_requests",
            "Requests that were answered.",
            (*labels, "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "keras_disent_request_seconds",
            "Seconds from the head of a request to the end of its response.",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "keras_disent_batch_requests",
            "Requests that were computed together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        pool.on_batch = self.batches.observe
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def count(self, name: str, protocol: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.requests.labels(name, protocol, str(status)).inc()
        self.seconds.labels(name, protocol).observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """Yield the state of the workers."""
        pool = self.pool
        yield GaugeMetricFamily(
            "keras_disent_workers_ready", "Workers that can compute.", pool.ready
        )
        yield GaugeMetricFamily(
            "keras_disent_queued_requests", "Requests that wait for a worker.", len(pool.queue)
        )
        yield CounterMetricFamily(
            "keras_disent_worker_restarts", "Workers that were replaced.", pool.restarts
        )

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
