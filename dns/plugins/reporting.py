"""Plugins that tell: errors (why a reply is a failure) and log (who asked what, and what came of it)."""

import asyncio
import re
from collections.abc import Sequence

import msgspec
from pointsman.dns import names
from pointsman.dns.classify import log_class
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import Consolidation, ErrorsOptions, LogOptions
from pointsman.dns.corefile.values import CLASSES, TYPES
from pointsman.dns.encode import encode
from pointsman.dns.plugins.cache import covers
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.question import AA, AD, CD, QR, RA, RD, TC, Query, Z
from pointsman.dns.reply import Reply
from pointsman.dns.upstream import RCODE_NAMES

TYPE_NAMES = {number: name for name, number in TYPES.items()}
CLASS_NAMES = {number: name for name, number in CLASSES.items()}
FLAG_NAMES = (("qr", QR), ("aa", AA), ("tc", TC), ("rd", RD), ("ra", RA), ("z", Z), ("ad", AD), ("cd", CD))


def type_name(number: int) -> str:
    """Return the name of a record type."""
    return TYPE_NAMES.get(number, f"TYPE{number}")


class Errors(Quiet):
    """errors: one line per failure, or one per period for those that a pattern gathers (OBS-44)."""

    def __init__(self, options: ErrorsOptions, around: Surroundings) -> None:
        self._around = around
        self._gathering = [_Gathering(one, around) for one in options.consolidate]

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            reply = await following(query)
            if reply is not None and reply.error:
                self._say(query, reply)
            return reply

        return respond

    def _say(self, query: Query, reply: Reply) -> None:
        text = f"plugin/errors: {reply.rcode} {names.text(query.key)} {type_name(query.qtype)}: {reply.error}"
        for one in self._gathering:
            if one.takes(reply.error):
                one.count(text)
                return
        self._around.tell("error", text)

    def stop(self) -> None:
        """Tell at once what was gathered."""
        for one in self._gathering:
            one.finish()


class _Gathering:
    """Errors that one pattern gathers."""

    def __init__(self, rule: Consolidation, around: Surroundings) -> None:
        self._rule = rule
        self._pattern = re.compile(rule.pattern)
        self._around = around
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def takes(self, error: str) -> bool:
        return self._pattern.search(error) is not None

    def count(self, text: str) -> None:
        self._count += 1
        if self._count == 1:
            self._timer = asyncio.get_running_loop().call_later(self._rule.period, self.finish)
            if self._rule.show_first:
                self._around.tell(self._rule.level, text)

    def finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._count > (1 if self._rule.show_first else 0):
            text = f"plugin/errors: {self._count} errors like '{self._rule.source}' occurred in last {duration(self._rule.period)}"
            self._around.tell(self._rule.level, text)
        self._count, self._timer = 0, None


def duration(seconds: float) -> str:
    """Return seconds as Go writes a duration: 30s, 1m30s, 1h0m0s, 500ms."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest:g}s"


class Log(Quiet):
    """log: one line per query of some names and classes of replies (OBS-42, OBS-43). The first directive that fits writes the line."""

    def __init__(self, options: Sequence[LogOptions], around: Surroundings) -> None:
        self._rules = [(tuple(names.wire(zone).lower() for zone in one.zones), one) for one in options]
        self._around = around

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            rule = next((rule for zones, rule in self._rules if covers(zones, query.key)), None)
            reply = await following(query)
            if rule is None or reply is None or not rule.classes & {"all", log_class(reply)}:
                return reply
            self._around.tell("info", line(rule.format, query, reply, self._around.clock()))
            return reply.but(life=None)

        return respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut if denials of this zone are not told."""
        told = [rule for zones, rule in self._rules if covers(zones, plain.zone) or any(names.cut(zone, plain.zone) >= 0 for zone in zones)]
        return None if any(rule.classes & {"all", "denial"} for rule in told) else plain


def line(form: str, query: Query, reply: Reply, now: float) -> str:
    """Return the log line of a query."""
    flags = QR | (query.flags & (RD | CD) & ~reply.clear) | reply.flags
    values = {
        "type": type_name(query.qtype),
        "name": names.text(query.key),
        "class": CLASS_NAMES.get(query.qclass, f"CLASS{query.qclass}"),
        "proto": "udp" if query.udp else "tcp",
        "remote": _bracketed(query.client[0]),
        "local": _bracketed(query.local[0]),
        "port": str(query.client[1]),
        "size": str(query.size),
        "duration": f"{max(now - query.started, 0):.9f}s",
        "rcode": RCODE_NAMES.get(reply.rcode, str(reply.rcode)),
        ">rflags": ",".join(name for name, bit in FLAG_NAMES if flags & bit),
        ">bufsize": str(max(512, 0 if query.edns is None else query.edns.size) if query.udp else 65535),
        ">do": "true" if query.do else "false",
        ">id": str(query.id),
        ">opcode": str(query.opcode),
    }
    if "{rsize}" in form:
        values["rsize"] = str(len(encode(msgspec.structs.replace(query, udp=False), reply)))
    return re.sub(r"\{([^{}]+)\}", lambda found: values.get(found[1], found[0]), form)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
