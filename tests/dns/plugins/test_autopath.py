"""autopath: the search path walked here (SRC-10 to SRC-25)."""

import pytest
from fakes.chains import AAAA, CNAME, A, Next, around, counted, linked, query, record, values
from fakes.corefiles import NOWHERE
from pointsman.dns.catalog import Catalog
from pointsman.dns.contract import Plain
from pointsman.dns.corefile.options import AutopathOptions
from pointsman.dns.facts import PodFact
from pointsman.dns.names import text, wire
from pointsman.dns.plugins.autopath import Autopath
from pointsman.dns.reply import Reply


@pytest.fixture
def search(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n")
    return str(path)


def knowing(*there):
    """Who follows: these names exist."""

    def reply(asked):
        if text(asked.key) not in there:
            return Reply(rcode=3)
        return Reply(answer=(record(text(asked.key), A, 42, b"\1\2\3\4"),) if asked.qtype == A else ())

    return Next(reply)


def autopath(source, following, surroundings=None, zones=("cluster.local.",)):
    return linked(Autopath(AutopathOptions(place=NOWHERE, zones=zones, source=source), surroundings or around()), following)


async def test_src_11_the_first_name_that_exists_wins_and_an_alias_leads_to_it(search):
    surroundings = around()
    respond, behind = autopath(search, knowing("example.com."), surroundings)
    reply = await respond(query("Example.com.shop.svc.cluster.local"))
    assert [text(one.key) for one in behind.asked] == [
        "example.com.shop.svc.cluster.local.", "example.com.svc.cluster.local.", "example.com.cluster.local.", "example.com.corp.example.",
        "example.com.",
    ]  # fmt: skip
    assert values(reply) == [
        ("Example.com.shop.svc.cluster.local.", CNAME, 42, wire("Example.com")), ("example.com.", A, 42, b"\1\2\3\4"),
    ]  # fmt: skip
    assert counted(surroundings, "coredns_autopath_success_total") == 1


async def test_src_11_the_first_element_needs_no_alias(search):
    respond, behind = autopath(search, knowing("web.shop.svc.cluster.local."))
    assert [one[1] for one in values(await respond(query("web.shop.svc.cluster.local")))] == [A]
    assert len(behind.asked) == 1


async def test_src_11_when_nothing_exists_the_first_reply_is_given(search):
    respond, behind = autopath(search, knowing())
    assert (await respond(query("nothing.shop.svc.cluster.local"))).rcode == 3
    assert len(behind.asked) == 5


async def test_src_23_both_types_take_the_same_branch(search):
    respond, behind = autopath(search, knowing("example.com.svc.cluster.local."))
    for qtype in (A, AAAA):
        await respond(query("example.com.shop.svc.cluster.local", qtype))
    assert [text(one.key) for one in behind.asked[:2]] == [text(one.key) for one in behind.asked[2:]]


@pytest.mark.parametrize("name", ["example.com", "web.other.svc.cluster.local", "svc.cluster.local", "shop.svc.cluster.local"])
async def test_other_names_are_left_alone(search, name):
    respond, behind = autopath(search, knowing())
    await respond(query(name))
    assert [text(one.key) for one in behind.asked] == [f"{name}."]


async def test_src_20_with_kubernetes_the_path_is_that_of_the_pod():
    catalog = Catalog()
    catalog.pods.put(PodFact("shop", "web-0", "192.0.2.77", (bytes((192, 0, 2, 77)),)))
    catalog.pods.put(PodFact("shop", "host-0", "192.0.2.78"))
    surroundings = around(catalog=catalog)
    respond, behind = autopath("@kubernetes", knowing("web.pay.svc.cluster.local."), surroundings)
    reply = await respond(query("web.pay.shop.svc.cluster.local"))
    assert values(reply)[0][3] == wire("web.pay.svc.cluster.local")
    before = len(behind.asked)
    await respond(query("web.pay.shop.svc.cluster.local", client=("192.0.2.78", 1)))
    assert len(behind.asked) == before + 1  # a pod of the host's network has no path of its own


def test_a_path_that_cannot_be_read_is_told():
    surroundings = around()
    autopath("/nothing/resolv.conf", knowing(), surroundings)
    assert "cannot be read" in surroundings.tell.text()


def test_the_short_cut_is_borne_for_other_zones(search):
    plain = Plain(wire("cluster.local"), 5, 5, ".")
    assert Autopath(AutopathOptions(place=NOWHERE, zones=("example.org.",), source=search), around()).plain(plain) is plain
    assert Autopath(AutopathOptions(place=NOWHERE, zones=(".",), source=search), around()).plain(plain) is None


async def test_obs_22_a_first_step_that_answers_counts_too(search):
    surroundings = around()
    respond, _ = autopath(search, knowing("web.shop.svc.cluster.local."), surroundings)
    assert (await respond(query("web.shop.svc.cluster.local"))).rcode == 0
    assert counted(surroundings, "coredns_autopath_success_total") == 1
