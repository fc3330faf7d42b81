"""Flags and file → the configuration in force, where each value came from, and everything that is wrong, in its author's words. Pure.

With a file, kube-proxy's own flags have no effect (CFG-22): the node's name, the API's address and logging are the exceptions, and
everything that is not kube-proxy's. Whoever gave a flag in vain is told. What is left empty is filled in as kube-proxy does it: listening
addresses follow the family of the node's address (CFG-02, CFG-03), and in nftables mode node ports are accepted on the node's own
addresses only (SEM-44). `flags` calls this for a command line, `pointsman config check` for a file alone.
"""

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping

from msgspec import Struct, structs
from pointsman.proxy.config import PRIMARY, Config, ConfigProblem
from pointsman.proxy.config_file import FileContent
from pointsman.proxy.flag_table import NAMES, UNUSED_FLAGS, Flag
from pointsman.proxy.settings import OURS, PATHS

Texts = Mapping[str, tuple[str, ...]]
"""What was given on the command line: texts by name of the field, in order."""

Check = Callable[[Config], tuple[ConfigProblem, ...]]

WITH_FILE = OURS | {"hostname_override", "master", "verbosity", "logging_format"}
"""Fields whose flags win over a file (CFG-22)."""

HEALTHZ_PORT, METRICS_PORT = 10256, 10249
DEFAULT = "default"

_FIELDS = frozenset(Config.__struct_fields__)
_UNUSED = frozenset(flag.field for flag in UNUSED_FLAGS)


class Loaded(Struct, frozen=True):
    """The configuration in force, the origin of each field in words, and sentences: what is wrong, and what had no effect.

    `actions` are the values of flags that set no field, by name; `digest` is the file's.
    """

    config: Config
    origins: Mapping[str, str]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    actions: Mapping[str, object] = {}
    digest: bytes = b""


class Source(Struct, frozen=True):
    """A configuration file: the name that people know it by, what it says, and a digest of it."""

    name: str
    content: FileContent
    digest: bytes = b""


def load(flags: Iterable[Flag], texts: Texts, source: Source | None, check: Check) -> Loaded:
    """Join flags and file; `check` says what is wrong with the result. Fields that cannot be read keep their defaults."""
    flags = tuple(flags)
    content = source.content if source else FileContent({}, (), ())
    name = source.name if source else ""
    broken = {remark.path for remark in content.problems}
    problems = [_placed(name, remark.line, remark.path, remark.text) for remark in content.problems]
    remarks = [_placed(name, remark.line, remark.path, remark.text) for remark in content.remarks]

    idle = {flag.field for flag in flags if source and flag.field in _FIELDS and flag.field not in WITH_FILE}
    settings, unreadable = read([flag for flag in flags if flag.field not in idle], texts)
    problems += told(texts, unreadable)
    remarks += _in_vain(flags, texts, idle, f"has no effect beside --config; say it in {name}")
    remarks += _in_vain(flags, texts, _UNUSED, "has no effect here")

    by_file = {field: given.value for field, given in content.values.items()}
    by_flag = {field: value for field, value in settings.items() if field in _FIELDS}
    ports = {} if source else {field: value for field, value in settings.items() if field in ("healthz_port", "metrics_port")}
    origins = {field: f"{name}:{given.line} {given.path}" for field, given in content.values.items()}
    origins |= {field: NAMES[field] for field in by_flag}
    config, filled = completed(by_file | by_flag, ports)
    origins |= filled

    judged = {problem.field for problem in unreadable} | {field for field, path in PATHS.items() if path in broken}
    for problem in check(config):
        given = None if problem.field in by_flag else content.values.get(problem.field)
        if problem.field not in judged:
            problems += [_placed(name, given.line, given.path, problem.text)] if given else told(texts, [problem])
    whole = {field: origins.get(field, DEFAULT) for field in Config.__struct_fields__}
    actions = {field: value for field, value in settings.items() if field not in _FIELDS}
    return Loaded(config, whole, tuple(problems), tuple(remarks), actions, source.digest if source else b"")


def read(flags: Iterable[Flag], texts: Texts) -> tuple[dict[str, object], tuple[ConfigProblem, ...]]:
    """Return the values that flags give, and what could not be read. The last of repeated flags counts, unless they add up."""
    settings: dict[str, object] = {}
    problems: list[ConfigProblem] = []
    for flag in flags:
        for text in texts.get(flag.field, ()):
            try:
                value = flag.read(text)
            except ValueError as error:
                problems.append(ConfigProblem(flag.field, str(error)))
                continue
            before = settings.get(flag.field, ())
            value = (*before, *value) if flag.many and isinstance(value, tuple) and isinstance(before, tuple) else value
            settings.update(dict.fromkeys((flag.field, *flag.also), value))
    return settings, tuple(problems)


def completed(given: Mapping[str, object], ports: Mapping[str, object]) -> tuple[Config, dict[str, str]]:
    """Return the configuration with what kube-proxy fills in, and the origin of that by field."""
    config = structs.replace(Config(), **given)
    filled: dict[str, object] = {}
    reasons: dict[str, str] = {}
    six = ":" in config.bind_address
    hosts = {"healthz": "[::]", "metrics": "[::1]"} if six else {"healthz": "0.0.0.0", "metrics": "127.0.0.1"}  # noqa: S104
    for server, usual in (("healthz", HEALTHZ_PORT), ("metrics", METRICS_PORT)):
        field, port = f"{server}_bind_address", ports.get(f"{server}_port", usual)
        if port == 0:
            filled[field], reasons[field] = "", f"--{server}-port=0"
        elif field in given:
            filled[field] = with_port(getattr(config, field), port)
        else:
            filled[field] = f"{hosts[server]}:{port}"
            by_family = {field: f"{DEFAULT} beside an IPv6 bind address"} if six else {}
            reasons |= by_family if port == usual else {field: f"--{server}-port"}
    if config.mode == "nftables" and not config.node_port_addresses:
        filled["node_port_addresses"], reasons["node_port_addresses"] = (PRIMARY,), f"{DEFAULT} of the mode"
    return structs.replace(config, **filled), reasons


def with_port(address: str, port: object) -> str:
    """Return an address to listen at, with a port if it has none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return f"{parsed}:{port}" if parsed.version == 4 else f"[{parsed}]:{port}"


def told(texts: Texts, problems: Iterable[ConfigProblem]) -> list[str]:
    """Return problems in the words of the command line: `--flag=value: text`."""
    lines = []
    for problem in problems:
        given = texts.get(problem.field, ())
        name = NAMES.get(problem.field, problem.field)
        lines.append(f"{name}={','.join(given)}: {problem.text}" if given else f"{name}: {problem.text}")
    return lines


def _placed(name: str, line: int, path: str, text: str) -> str:
    place = f"{name}:{line}" if line else name
    return f"{place}: {path}: {text}" if path else f"{place}: {text}"


def _in_vain(flags: Iterable[Flag], texts: Texts, fields: Collection[str], text: str) -> list[str]:
    return [f"{_named(flag)} {text}" for flag in flags if flag.field in fields and texts.get(flag.field)]


def _named(flag: Flag) -> str:
    return flag.short or f"--{flag.name}"
