"""CoreDNS's counters (OBS-01 to OBS-08)."""

from pointsman.dns.books import DO, DURATION, REQUEST_SIZE, REQUESTS, RESPONSES, Books, Top
from pointsman.dns.tally import Tally


def values(tally):
    return {(sample.metric, sample.labels): sample.values for sample in tally.dump()}


def test_obs_03_to_07_a_flow_counts_all_of_a_query():
    tally = Tally()
    Books(tally, "dns://:53", "udp", "1").flow(".", 28, 3, "kubernetes", do=True).count(3, 60, 130, 0.0001)
    found = values(tally)
    assert found[REQUESTS, ("dns://:53", ".", "", "udp", "1", "AAAA")] == (3,)
    assert found[RESPONSES, ("dns://:53", ".", "", "NXDOMAIN", "kubernetes")] == (3,)
    assert found[DO, ("dns://:53", ".", "")] == (3,)
    assert found[REQUEST_SIZE, ("dns://:53", ".", "", "udp")][1] == 3
    assert found[DURATION, ("dns://:53", ".", "")][0] == 3


def test_obs_01_types_and_zones_that_have_no_name():
    tally = Tally()
    books = Books(tally, "dns://:53", "tcp", "2")
    assert books.flow(".", 99, 0, "x") is books.flow(".", 98, 0, "x")
    books.flow("", 1, 5, "").count(1, 1, 1, 1.0)
    found = values(tally)
    assert (REQUESTS, ("dns://:53", ".", "", "tcp", "2", "other")) in found
    assert found[REQUESTS, ("dns://:53", "dropped", "", "tcp", "2", "A")] == (1,)
    assert (DO, ("dns://:53", ".", "")) not in found


def test_the_top_keeps_what_is_frequent_in_bounded_memory():
    top = Top(room=10)
    for number in range(1000):
        top.count(b"rare%d" % number)
        top.count(b"often")
    (name, _), *_ = top.most()
    assert name == b"often"
    assert len(top.most(1000)) <= 21
