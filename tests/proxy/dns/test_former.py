"""Former names say what the present ones say, for forward only."""

from pointsman.dns.tally import Sample
from pointsman.proxy.dns.former import ANSWERS, DURATION, FAILURES, PROBES, REQUESTS, RESPONSES, former
from pointsman.proxy.dns.text import render

BOUNDS = (0.1, 1.0)


def answered(to, rcode, *counts):
    return Sample(ANSWERS, ("forward", to, rcode), (*counts, 0.5), BOUNDS)


def test_answers_are_told_as_requests_responses_and_durations():
    one = answered("192.0.2.53:53", "NOERROR", 1.0, 2.0, 3.0)
    assert list(former([one])) == [
        Sample(DURATION, ("192.0.2.53:53", "NOERROR"), one.values, BOUNDS),
        Sample(RESPONSES, ("192.0.2.53:53", "NOERROR"), (6.0,)),
        Sample(REQUESTS, ("192.0.2.53:53",), (6.0,)),
    ]


def test_requests_of_all_rcodes_are_added_up():
    text = render([answered("192.0.2.53:53", "NOERROR", 1.0, 0.0, 0.0), answered("192.0.2.53:53", "SERVFAIL", 0.0, 1.0, 0.0)]).decode()
    assert f'{REQUESTS}{{to="192.0.2.53:53"}} 2\n' in text
    assert f'{RESPONSES}{{to="192.0.2.53:53",rcode="SERVFAIL"}} 1\n' in text


def test_probes_are_told_and_what_others_asked_is_not():
    assert list(former([Sample(PROBES, ("forward", "x"), (4.0,))])) == [Sample(FAILURES, ("x",), (4.0,))]
    assert list(former([Sample(PROBES, ("grpc", "x"), (4.0,)), Sample("coredns_panics_total", (), (1.0,))])) == []
