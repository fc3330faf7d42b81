"""By which Service the removal is measured. The measurement itself runs in `test_session`, against a real kernel."""

from pointsman.proxy.demo import removal
from pointsman.routing.route import Family, Protocol


def questions(cases, oracle):
    return [(case, oracle.trace(case.packet)) for case in cases if case.sender.node == "n1"]


def test_the_service_with_most_backends_is_chosen_once_per_family(cases, oracle):
    chosen = removal.choose(questions(cases, oracle))
    assert [case.family for case, _ in chosen] == [Family.IPV4, Family.IPV6]
    assert {case.subject for case, _ in chosen} == {"shop/web:http"}
    assert len({case.sender for case, _ in chosen}) == 1
    assert len({case.frontend.rpartition(" ")[0] for case, _ in chosen}) == 1


def test_affinity_udp_and_single_backends_are_not_chosen(cases, oracle):
    unfit = [(case, outcome) for case, outcome in questions(cases, oracle) if case.subject != "shop/web:http"]
    assert removal.choose(unfit) == []
    assert any(case.protocol is Protocol.UDP for case, _ in unfit)


def test_a_removal_passes_only_if_nothing_broke_and_nothing_went_on():
    assert removal.Removal("s", "p", {"IPv4": 1.0}, 2, 1, 10, 0).passed
    assert not removal.Removal("s", "p", {"IPv4": None}, 2, 1, 10, 0).passed
    assert not removal.Removal("s", "p", {"IPv4": 1.0}, 2, 1, 10, 1).passed
