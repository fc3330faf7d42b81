"""How many connections a question gets, and that their results are judged."""

import pytest
from pointsman.proxy.demo import trial
from pointsman.proxy.demo.judgement import expected_source, place_of
from pointsman.proxy.demo.lab_probe import Ending, Result
from pointsman.proxy.demo.scene import TOPOLOGY


class Cluster:
    """A laboratory in which every connection ends alike."""

    topology = TOPOLOGY

    def __init__(self, result):
        self.result = result
        self.asked = []

    async def probe(self, place, destination, port, protocol, *, source_address, timeout_seconds):
        self.asked.append((place, destination, port, protocol, source_address, timeout_seconds))
        return self.result


async def test_a_refusal_needs_few_connections(find, oracle):
    cluster = Cluster(Result(Ending.REFUSED, 0.001))
    case = find("shop/recommendations:http", "cluster IP", "pod")
    finding = await trial.attempt(cluster, case, oracle.trace(case.packet))
    assert finding.differences == ()
    assert len(cluster.asked) == trial.FEW
    assert set(cluster.asked) == {("n1p6", "10.96.10.6", 80, case.protocol, "10.244.1.16", trial.ANSWER_SECONDS)}


async def test_silence_costs_its_time_only_a_few_times(find, oracle):
    cluster = Cluster(Result(Ending.SILENT, trial.SILENCE_SECONDS))
    case = find("no such Service", "cluster IP", "pod")
    finding = await trial.attempt(cluster, case, oracle.trace(case.packet))
    assert finding.differences == ()
    assert [asked[-1] for asked in cluster.asked] == [trial.SILENCE_SECONDS] * trial.SILENT


class OddAtFirst(Cluster):
    """A laboratory whose first connections all meet one backend, and later ones each in turn, or not."""

    def __init__(self, answers, later):
        super().__init__(None)
        self.answers = answers
        self.later = later

    async def probe(self, *where, **how):
        await super().probe(*where, **how)
        turn = len(self.asked) - trial.CONNECTIONS
        return self.answers[turn % len(self.answers) if turn > 0 and self.later else 0]


@pytest.mark.parametrize("later", [True, False])
async def test_an_odd_share_is_believed_only_after_many_more(find, oracle, later):
    case = find("shop/web:http", "cluster IP", "node")
    outcome = oracle.trace(case.packet)
    shares = outcome.shares
    answers = [Result(Ending.ANSWERED, 0.001, place_of(one, TOPOLOGY), 8080, expected_source(case, one, TOPOLOGY)) for one in shares]
    cluster = OddAtFirst(answers, later)
    finding = await trial.attempt(cluster, case, outcome)
    assert len(cluster.asked) == trial.CONNECTIONS + trial.MORE
    assert (finding.differences == ()) is later


async def test_shares_need_many_and_every_case_is_told(find, oracle):
    cluster = Cluster(Result(Ending.SILENT, 0.001))
    wanted = [find("shop/web:http", "cluster IP", "pod till-0"), find("shop/web:http", "cluster IP", "node")]
    told = []
    findings = await trial.run(cluster, {"n1": oracle}, wanted, told.append)
    assert [one.case for one in findings] == wanted
    assert sorted(one.case.sender.words for one in told) == ["node n1", "pod till-0"]
    assert len(cluster.asked) == 2 * trial.CONNECTIONS
    assert all("silent, not answered" in one.differences[0] for one in findings)
