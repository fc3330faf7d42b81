"""The metrics server: /metrics and what kube-proxy serves beside it (docs/services.md section 6, "Metrics").

    /metrics        everything that `metrics_list` lists, as Prometheus' text
    /metrics/slis   whether each health check holds now, and how often it did (Kubernetes' service-level indicators)
    /healthz        ok: this server answers, and nothing more
    /proxyMode      the mode, as kubelet's tests and people ask for it
    /configz        the configuration in force, as a KubeProxyConfiguration; ours beside it
    /debug/...      `profiling`, where it is asked for
    /flagz /statusz every flag in force, and what runs; not where the gates ComponentFlagz and ComponentStatusz are off

By default it listens on loopback only: what it tells is not secret, and yet nobody's business.
"""

import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
from pointsman.proxy import gates, version
from pointsman.proxy.config import Config
from pointsman.proxy.flag_table import RUN_FLAGS
from pointsman.proxy.health import Health
from pointsman.proxy.scrape import Scraper
from pointsman.proxy.servers import JSON, Answer, Answering, Question, Server
from pointsman.proxy.values import duration, spelled

METRICS_TYPE = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8", "X-Content-Type-Options": "nosniff"}

_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees"
    " and is for debugging purposes only."
)


class MetricsServer:
    """Answers of one agent."""

    def __init__(self, config: Config, scraper: Scraper, health: Callable[[], Health]) -> None:
        self._config = config
        self._scraper = scraper
        self._indicators = Indicators(health)
        self._started = time.time()

    def server(self) -> Server:
        """Return the server, at the address of the configuration."""
        config = self._config
        paths: dict[str, Answering] = {
            "/metrics": self._metrics,
            "/metrics/slis": self._indicators.answer,
            "/healthz": lambda _: Answer(200, b"ok"),
            "/proxyMode": lambda _: Answer(200, config.mode.encode()),
            "/configz": lambda _: Answer(200, configz(config), JSON),
        }
        if gates.served(config.feature_gates, "ComponentFlagz"):
            paths["/flagz"] = lambda _: Answer(200, flagz(config).encode())
        if gates.served(config.feature_gates, "ComponentStatusz"):
            paths["/statusz"] = lambda _: Answer(200, self._statusz(paths).encode())
        if config.enable_profiling:
            from pointsman.proxy.profiling import Profiling  # noqa: PLC0415 - only where it is asked for

            paths.update(Profiling().paths())
        return Server("metrics", config.metrics_bind_address, paths)

    async def _metrics(self, _: Question) -> Answer:
        return Answer(200, await self._scraper.scrape(), METRICS_TYPE)

    def _statusz(self, paths: Mapping[str, Answering]) -> str:
        started = datetime.fromtimestamp(self._started, UTC)
        minutes, seconds = divmod(int(time.time() - self._started), 60)
        return (
            f"\nkube-proxy statusz\n{_WARNING}\n\n"
            f"Started: {started:%a %b %d %H:%M:%S UTC %Y}\n"
            f"Up: {minutes // 60} hr {minutes % 60:02d} min {seconds:02d} sec\n"
            f"Go version: python{platform.python_version()}\n"
            f"Binary version: {version.release()}\n\n"
            f"Paths: {' '.join(sorted(paths))}\n"
        )


class Indicators:
    """Health checks as service-level indicators: what holds now, and how often it did when somebody asked."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health
        self._counts: dict[tuple[str, str, str], int] = {}

    def answer(self, _: Question) -> Answer:
        """Answer /metrics/slis."""
        health = self._health()
        checks = {(family.value, "livez"): well for family, well in health.well().items()}
        checks["node-eligible", "healthz"] = health.eligible
        for (name, kind), well in checks.items():
            key = (name, "success" if well else "error", kind)
            self._counts[key] = self._counts.get(key, 0) + 1
        lines = [
            "# HELP kubernetes_healthcheck [STABLE] This metric records the result of a single healthcheck.",
            "# TYPE kubernetes_healthcheck gauge",
            *(f'kubernetes_healthcheck{{name="{name}",type="{kind}"}} {int(well)}' for (name, kind), well in checks.items()),
            "# HELP kubernetes_healthchecks_total [STABLE] This metric records the results of all healthcheck.",
            "# TYPE kubernetes_healthchecks_total counter",
        ]
        for (name, status, kind), count in self._counts.items():
            lines.append(f'kubernetes_healthchecks_total{{name="{name}",status="{status}",type="{kind}"}} {count}')
        return Answer(200, "".join(f"{line}\n" for line in lines).encode(), METRICS_TYPE)


def configz(config: Config) -> bytes:
    """Return the configuration in force as JSON, by the group of its kind."""
    from pointsman.proxy import config_document  # noqa: PLC0415 - only where it is asked for

    documents = {"kubeproxy.config.k8s.io": config_document.kube_proxy(config), "pointsman.dev": config_document.pointsman(config)}
    return msgspec.json.encode(documents)


def flagz(config: Config) -> str:
    """Return every flag with its value in force."""
    flags = (flag for flag in RUN_FLAGS if flag.field in config.__struct_fields__)
    lines = sorted(f"{flag.name}={spelled(getattr(config, flag.field), time=flag.read is duration)}" for flag in flags)
    return "\n".join(["", "kube-proxy flagz", _WARNING, "", *lines, ""])
