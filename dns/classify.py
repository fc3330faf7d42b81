"""What kind of reply a reply is: for the cache, which keeps some and not others, and for logs (CAC-30 to CAC-33, OBS-43). Pure."""

from enum import Enum

from pointsman.dns.question import NOERROR, NOTIMP, NXDOMAIN, OPCODE_QUERY, SERVFAIL, TC, Query
from pointsman.dns.reply import Record, Reply

NS, CNAME, SOA, RRSIG = 2, 5, 6, 46
ANY, AXFR, IXFR = 255, 252, 251


class Kind(Enum):
    """What the cache makes of a reply: the store, or that it is not kept."""

    SUCCESS = "success"
    DENIAL = "denial"
    FAILURE = "failure"
    """SERVFAIL or NOTIMP: kept for a short time, in the store of denials."""
    NEVER = "never"


def kind(query: Query, reply: Reply, wall: float) -> Kind:
    """Return what becomes of a reply; `wall` is Unix time, for the end of signatures.

    A failure of this server's own is never kept: the next query may find an upstream that answers again.
    """
    if reply.bare or reply.flags & TC or query.qtype in {AXFR, IXFR} or query.opcode != OPCODE_QUERY:
        return Kind.NEVER
    if query.do and any(record.rtype == RRSIG and _expired(record, wall) for record in (*reply.answer, *reply.authority)):
        return Kind.NEVER
    if reply.rcode in {SERVFAIL, NOTIMP}:
        return Kind.FAILURE
    soa = any(record.rtype == SOA for record in reply.authority)
    if reply.rcode == NXDOMAIN:
        return Kind.DENIAL if soa and not reply.answer else Kind.NEVER
    if reply.rcode != NOERROR:
        return Kind.NEVER
    if not reply.answer:
        return Kind.DENIAL if soa else Kind.SUCCESS
    if reaches(query, reply):
        return Kind.SUCCESS
    return Kind.DENIAL if soa else Kind.NEVER


def reaches(query: Query, reply: Reply) -> bool:
    """Return whether the answer has what was asked, at the end of its chain of aliases."""
    name = query.key
    if query.qtype in {ANY, CNAME}:
        return any(record.owner.lower() == name and query.qtype in {ANY, record.rtype} for record in reply.answer)
    aliases = {record.owner.lower(): record.rdata.lower() for record in reply.answer if record.rtype == CNAME}
    for _ in range(len(aliases) + 1):
        if any(record.rtype == query.qtype and record.owner.lower() == name for record in reply.answer):
            return True
        if name not in aliases:
            return False
        name = aliases.pop(name)
    return False


def log_class(reply: Reply) -> str:
    """Return the class that the log plugin knows a reply by: success, denial or error (OBS-43)."""
    if reply.rcode == NXDOMAIN:
        return "denial"
    if reply.rcode != NOERROR:
        return "error"
    if not reply.answer and any(record.rtype == SOA for record in reply.authority):
        return "denial"
    return "success"


def _expired(signature: Record, wall: float) -> bool:
    """Return whether a signature's time is over (RFC 4034, section 3.1.5: serial arithmetic)."""
    if len(signature.rdata) < 16:
        return True
    left = (int.from_bytes(signature.rdata[8:12], "big") - int(wall)) & 0xFFFFFFFF
    return left >= 0x80000000
