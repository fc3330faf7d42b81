import pytest
from pointsman.explain.resolve import Named, candidates, meant, resolve

SERVICES = [
    Named("shop", "web", "ClusterIP", ("10.96.0.1", "fd00::1")),
    Named("shop", "db", "ClusterIP", ("None",), endpoints=("10.244.1.1",)),
    Named("shop", "far", "ExternalName", (), "db.example.org"),
    Named("ops", "web", "ClusterIP", ("10.96.0.9",)),
]


def test_the_search_path_of_a_pod():
    assert candidates("web.shop", "app") == (
        "web.shop.app.svc.cluster.local", "web.shop.svc.cluster.local", "web.shop.cluster.local", "web.shop",
    )  # fmt: skip
    assert candidates("web.shop.svc.cluster.local.", "app") == ("web.shop.svc.cluster.local",)
    assert candidates("a.b.c.d.e.f", "app")[0] == "a.b.c.d.e.f"


@pytest.mark.parametrize(("asked", "namespace", "addresses"), [
    ("web", "shop", ("10.96.0.1", "fd00::1")), ("web", "ops", ("10.96.0.9",)), ("WEB.shop", "ops", ("10.96.0.1", "fd00::1")),
    ("web.shop.svc", "x", ("10.96.0.1", "fd00::1")), ("web.shop.svc.cluster.local", "x", ("10.96.0.1", "fd00::1")),
])  # fmt: skip
def test_names_as_people_write_them(asked, namespace, addresses):
    found = resolve(asked, namespace, SERVICES)
    assert found.addresses == addresses
    assert found.attempts[-1].result.startswith("Service ")


def test_what_a_name_may_mean_is_told_without_the_objects():
    assert meant("db", "web") == (("web", "db"),)
    assert meant("db.shop", "web") == meant("db.shop.svc.cluster.local.", "web") == (("shop", "db"),)
    assert meant("db.example.com.", "web") == ()


def test_headless_and_external_names_say_that_no_proxy_has_a_part_in_it():
    assert resolve("db", "shop", SERVICES).addresses == ("10.244.1.1",)
    assert "headless" in resolve("db", "shop", SERVICES).remark
    assert resolve("far", "shop", SERVICES).addresses == ()
    assert "only another name for db.example.org" in resolve("far", "shop", SERVICES).remark


def test_a_lost_name_says_where_there_is_one():
    assert "there is db in shop: try db.shop" in resolve("db", "ops", SERVICES).remark
    assert "no Service is called nothing" in resolve("nothing", "ops", SERVICES).remark
