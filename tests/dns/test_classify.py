"""Kinds of replies: aliases, signatures, and classes of logs (CAC-30 to CAC-33, OBS-43)."""

import pytest
from fakes.chains import AAAA, CNAME, TXT, A, edns, query, record, soa
from pointsman.dns.classify import Kind, kind, log_class, reaches
from pointsman.dns.reply import Reply

IP = b"\1\2\3\4"
NOW = 1_800_000_000


def signature(expires):
    return record("a.example", 46, 5, b"\0" * 8 + (expires & 0xFFFFFFFF).to_bytes(4, "big") + b"\0" * 8)


@pytest.mark.parametrize(
    ("qtype", "answer", "there"),
    [
        (A, (record("A.example", A, 1, IP),), True),
        (A, (record("a.example", CNAME, 1, "B.example"), record("b.example", A, 1, IP)), True),
        (A, (record("b.example", A, 1, IP), record("a.example", CNAME, 1, "b.example")), True),
        (A, (record("a.example", CNAME, 1, "b.example"), record("b.example", CNAME, 1, "a.example")), False),
        (A, (record("a.example", CNAME, 1, "b.example"),), False),
        (CNAME, (record("a.example", CNAME, 1, "b.example"),), True),
        (255, (record("a.example", TXT, 1, b"\0"),), True),
        (AAAA, (record("a.example", A, 1, IP),), False),
        (A, (record("c.example", A, 1, IP),), False),
    ],
)
def test_chains_of_aliases(qtype, answer, there):
    assert reaches(query("a.example", qtype), Reply(answer=answer)) == there


def test_cac_32_expired_signatures_are_not_kept_for_who_checks_them():
    good = Reply(answer=(record("a.example", A, 5, IP), signature(NOW + 60)))
    old = Reply(answer=(record("a.example", A, 5, IP), signature(NOW - 60)))
    checking = query("a.example", edns=edns(do=True))
    assert kind(checking, good, NOW) is Kind.SUCCESS
    assert kind(checking, old, NOW) is Kind.NEVER
    assert kind(query("a.example"), old, NOW) is Kind.SUCCESS


def test_cac_32_transfers_and_notify_are_not_kept():
    answer = Reply(answer=(record("a.example", 252, 5, IP),))
    assert kind(query("a.example", 252), answer, NOW) is Kind.NEVER
    assert kind(query("a.example", flags=4 << 11), Reply(answer=(record("a.example", A, 5, IP),)), NOW) is Kind.NEVER


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (Reply(answer=(record("a.example", A, 5, IP),)), "success"),
        (Reply(), "success"),
        (Reply(authority=(soa(),)), "denial"),
        (Reply(rcode=3), "denial"),
        (Reply(rcode=2), "error"),
        (Reply(rcode=5), "error"),
    ],
)
def test_obs_43_classes(reply, name):
    assert log_class(reply) == name
