"""The configuration in force → kube-proxy's document, ours, and a file of both.

`/configz` shows the first, `--write-config-to` writes the file (PROC-06). Our document is left out while it would say nothing, so that
kube-proxy itself can read the file. What a file cannot say (`lost`) is told: an empty address means the default there.
"""

from typing import Any

from pointsman.proxy import config_file
from pointsman.proxy.config import Config
from pointsman.proxy.settings import KUBE_PROXY, POINTSMAN, SCHEMAS, Schema

DEFAULTS = Config()


def kube_proxy(config: Config) -> dict[str, object]:
    """Return the KubeProxyConfiguration in force, complete, as plain values (CFG-01 to CFG-19)."""
    return _document(KUBE_PROXY, config)


def pointsman(config: Config) -> dict[str, object]:
    """Return the PointsmanConfiguration in force, complete, as plain values."""
    return _document(POINTSMAN, config)


def text(config: Config) -> str:
    """Return a configuration file that says the same."""
    documents = [kube_proxy(config)]
    if any(getattr(config, one.field) != getattr(DEFAULTS, one.field) for one in POINTSMAN.settings):
        documents.append(pointsman(config))
    import yaml  # noqa: PLC0415 - an agent never writes YAML

    return str(yaml.safe_dump_all(documents, sort_keys=True, default_flow_style=False, allow_unicode=True))


def lost(config: Config) -> tuple[str, ...]:
    """Return the paths whose value the file means as the default, and not as it is in force."""
    found = config_file.read(text(config).encode()).values
    return tuple(
        setting.path
        for schema in SCHEMAS
        for setting in schema.settings
        if setting.field not in found and getattr(config, setting.field) != getattr(DEFAULTS, setting.field)
    )


def _document(schema: Schema, config: Config) -> dict[str, object]:
    found: dict[str, object] = {"apiVersion": schema.api_version, "kind": schema.kind}
    for path, value in schema.unused.items():
        if value is not None:
            _put(found, path, value)
    for setting in schema.settings:
        value = setting.kind.write(getattr(config, setting.field))
        if value != {}:  # kube-proxy leaves an empty mapping out
            _put(found, setting.path, value)
    return found


def _put(document: dict[str, Any], path: str, value: object) -> None:
    *folders, name = path.split(".")
    for folder in folders:
        document = document.setdefault(folder, {})
    document[name] = value
