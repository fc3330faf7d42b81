"""Differences are found: a wrong ending, a wrong backend, a wrong source, a wrong share."""

from itertools import cycle, islice

import pytest
from pointsman.proxy.demo.judgement import expected_source, judge, place_of
from pointsman.proxy.demo.lab_probe import Ending, Result
from pointsman.proxy.demo.scene import TOPOLOGY


def answers(case, outcome, count=60):
    """What a right kernel would answer, in turn."""
    met = [(place_of(share, TOPOLOGY), share.backend.port, expected_source(case, share, TOPOLOGY)) for share in outcome.shares]
    return [Result(Ending.ANSWERED, 0.001, *one) for one in islice(cycle(met), count)]


@pytest.fixture
def web(find, oracle):
    case = find("shop/web:http", "cluster IP", "node n1")
    return case, oracle.trace(case.packet)


def differences(case, outcome, results):
    return judge(case, outcome, results, TOPOLOGY).differences


def test_what_the_oracle_says_is_right(cases, oracle):
    for case in cases:
        if case.sender.node == "n1":
            outcome = oracle.trace(case.packet)
            endings = {"reject": Ending.REFUSED, "drop": Ending.SILENT}
            refused = [Result(endings.get(outcome.verdict.value, Ending.ANSWERED), 0.1)] * 4
            results = refused if not outcome.shares else answers(case, outcome)[: 1 if outcome.affinity_seconds else 60]
            assert differences(case, outcome, results) == (), case


def test_counts_are_by_backend(web):
    case, outcome = web
    finding = judge(case, outcome, answers(case, outcome), TOPOLOGY)
    assert [(one.place, one.count) for one in finding.met] == [("n1p1", 20), ("n2p1", 20), ("n2p6", 20)]
    assert finding.sent == 60


def test_masqueraded_connections_show_the_node_on_the_side_of_the_backend(web):
    """SEM-04: towards its own pod the node shows its gateway address, towards another node its underlay address."""
    case, outcome = web
    sources = {place_of(share, TOPOLOGY): expected_source(case, share, TOPOLOGY) for share in outcome.shares}
    assert sources == {"n1p1": "10.244.1.1", "n2p1": "192.168.50.1", "n2p6": "192.168.50.1"}


def test_sem_03_a_pod_keeps_its_address(find, oracle):
    case = find("shop/web:http", "cluster IP", "pod till-0")
    assert {expected_source(case, share, TOPOLOGY) for share in oracle.trace(case.packet).shares} == {"10.244.1.16"}


def test_a_wrong_ending_differs(web):
    case, outcome = web
    results = [*answers(case, outcome, 59), Result(Ending.RESET, 0.1)]
    assert differences(case, outcome, results) == ("1 connections were reset, not answered",)


def test_a_strange_backend_differs(web):
    case, outcome = web
    results = [*answers(case, outcome), Result(Ending.ANSWERED, 0.1, "n2p3", 8125, "192.168.50.1")]
    assert "n2p3 was met, which is no backend here" in differences(case, outcome, results)


def test_a_source_that_was_not_masqueraded_differs(web):
    case, outcome = web
    results = answers(case, outcome)
    results[0] = Result(Ending.ANSWERED, 0.1, "n1p1", 8080, "192.168.50.1")
    assert differences(case, outcome, results) == ("10.244.1.11:8080 saw 10.244.1.1, 192.168.50.1, not 10.244.1.1",)


def test_a_backend_that_is_never_met_differs(web):
    case, outcome = web
    results = [result for result in answers(case, outcome, 90) if result.backend != "n2p6"]
    assert any("10.244.2.16:8080 got 0 of 60 connections, 20 are its share" in text for text in differences(case, outcome, results))


def test_sem_25_two_backends_differ_where_there_is_affinity(find, oracle):
    case = find("shop/cart:grpc", "cluster IP", "pod till-0")
    outcome = oracle.trace(case.packet)
    assert "2 backends were met in spite of session affinity" in differences(case, outcome, answers(case, outcome))
