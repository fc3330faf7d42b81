from pointsman.explain.tally import OTHERS, Tally
from pointsman.explain.traffic import Row


def row(service, connections, **more):
    return Row(service, "TCP", "", "", connections, **more)


WEB, DB = ("shop", "web", "http", "TCP"), ("shop", "db", "", "TCP")


def test_nothing_counts_from_before_the_first_reading_and_totals_only_grow():
    tally = Tally()
    tally.read([row("shop/web:http", 500, skew=1.5)])
    assert tally.totals[WEB].connections == 0
    for count, total in ((520, 20), (7, 27), (8, 28)):
        tally.read([row("shop/web:http", count, bytes_in=count)])
        assert tally.totals[WEB].connections == total


def test_who_comes_later_counts_from_its_beginning():
    tally = Tally()
    tally.read([])
    tally.read([row("shop/db", 9)])
    assert tally.totals[DB].connections == 9


def test_names_are_bounded_and_stay_and_all_others_share_one():
    tally = Tally(limit=1)
    tally.read([row("shop/web:http", 10), row("shop/db", 5)])
    tally.read([row("shop/db", 9), row("shop/web:http", 11)])
    assert {name: one.connections for name, one in tally.totals.items()} == {WEB: 1, OTHERS: 4}


def test_who_is_gone_loses_its_name_and_rows_of_endpoints_are_passed_over():
    tally = Tally()
    tally.read([row("shop/web:http", 10), Row("shop/web:http", "TCP", "10.0.0.1:80", "p", 10)])
    tally.read([row("shop/db", 1)])
    assert tally.totals.keys() == {DB}
