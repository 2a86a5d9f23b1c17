"""What a server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from burnish.serve.arms import Arms

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Meters:
    """The counters of one server."""

    def __init__(self, arms: Arms) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "burnish_requests", "Requests by their end.", ["arm", "kind", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.tokens = Counter(
            "burnish_tokens", "Tokens read, of these known before (cached), and drawn.",
            ["arm", "what"], registry=self.registry,
        )  # fmt: skip
        self.first = Histogram(
            "burnish_first_token_seconds", "From request to first token.", ["arm"],
            registry=self.registry, buckets=SECONDS,
        )  # fmt: skip
        self.whole = Histogram(
            "burnish_request_seconds", "From request to last token.", ["arm"],
            registry=self.registry, buckets=SECONDS,
        )  # fmt: skip
        self.feedback = Counter(
            "burnish_feedback", "Feedback that was new.", ["arm", "kind"], registry=self.registry
        )
        self.registry.register(_Load(arms))

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)


class _Load(Collector):
    """How busy the models are, looked up when it is asked."""

    def __init__(self, arms: Arms) -> None:
        self.arms = arms

    def collect(self) -> Iterable[Metric]:
        """Gauges and counters of every arm."""
        running = GaugeMetricFamily("burnish_running", "Replies being decoded.", labels=["arm"])
        waiting = GaugeMetricFamily("burnish_waiting", "Replies that wait.", labels=["arm"])
        swaps = GaugeMetricFamily("burnish_swaps", "Changes of weights.", labels=["arm"])
        failed = GaugeMetricFamily("burnish_failed_swaps", "Weights not loaded.", labels=["arm"])
        drafts = CounterMetricFamily(
            "burnish_draft_tokens", "Tokens that a draft model proposed.", labels=["arm", "end"]
        )
        for arm in self.arms.all:
            load = arm.engine.load()
            running.add_metric([arm.name], load.running)
            waiting.add_metric([arm.name], load.waiting)
            swaps.add_metric([arm.name], arm.swaps)
            failed.add_metric([arm.name], arm.failures)
            for end, count in (
                ("accepted", load.accepted), ("refused", load.proposed - load.accepted),
            ):  # fmt: skip
                drafts.add_metric([arm.name, end], count)
        return [running, waiting, swaps, failed, drafts]
