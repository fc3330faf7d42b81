"""EndpointSlices → endpoints: IN-02 and IN-30 to IN-40."""

import pytest
from fakes.objects import TO_HTTP, endpoint, endpoint_slice
from hypothesis import given
from hypothesis import strategies as st
from pointsman.routing.endpoint import is_routed, service_endpoints, unknown_types
from pointsman.routing.route import Family, Protocol, Severity

V4, V6 = Family.IPV4, Family.IPV6


def collect(*slices, family=V4, node="n1"):
    return service_endpoints({one.metadata.name: one for one in slices}, family, node)


def http(*slices, family=V4, node="n1"):
    return collect(*slices, family=family, node=node).of("http", Protocol.TCP)


def texts(endpoints):
    return [str(one.backend) for one in endpoints]


def test_in_02_a_headless_slice_is_not_routed():
    for value in ("", "true"):
        headless = endpoint_slice(endpoint("10.1.0.1"), labels={"service.kubernetes.io/headless": value})
        assert not is_routed(headless)
        assert texts(http(headless)) == []


@pytest.mark.parametrize(("kind", "words"), [("", "is missing"), ("ipv4", "'ipv4' is not known")])
def test_an_address_type_that_the_api_does_not_know_is_told(kind, words):
    good, bad = endpoint_slice(endpoint("10.1.0.1"), family="FQDN"), endpoint_slice(endpoint("10.1.0.1"), name="web-2", family=kind)
    [notice] = unknown_types({"web-1": good, "web-2": bad})
    subject = f"EndpointSlice {bad.metadata.namespace}/web-2"
    assert (notice.subject, notice.field, notice.severity) == (subject, "addressType", Severity.REFUSED)
    assert notice.text.startswith(words)
    headless = endpoint_slice(endpoint("10.1.0.1"), family=kind, labels={"service.kubernetes.io/headless": ""})
    assert unknown_types({"web-3": headless}) == []


@pytest.mark.parametrize("kind", ["IPv6", "FQDN", ""])
def test_in_30_slices_of_other_address_types_are_ignored_silently(kind):
    found = collect(endpoint_slice(endpoint("web.example"), family=kind))
    assert found.of("http", Protocol.TCP) == ()
    assert found.notices == ()


def test_in_30_each_family_takes_its_own():
    slices = endpoint_slice(endpoint("10.1.0.1")), endpoint_slice(endpoint("fd00::1"), name="web-6", family="IPv6")
    assert texts(http(*slices)) == ["10.1.0.1:8080"]
    assert texts(http(*slices, family=V6)) == ["[fd00::1]:8080"]


def test_in_32_the_endpoints_are_the_union_over_slices():
    slices = endpoint_slice(endpoint("10.1.0.1")), endpoint_slice(endpoint("10.1.0.2"), name="web-2")
    assert texts(http(*slices)) == ["10.1.0.1:8080", "10.1.0.2:8080"]


@pytest.mark.parametrize("port", [{"port": 8080}, {"name": "http"}, {"name": "http", "port": 0}])
def test_in_33_ports_without_name_or_number_are_skipped(port):
    found = collect(endpoint_slice(endpoint("10.1.0.1"), ports=[port]))
    assert found.by_port == {}
    assert found.notices == ()


def test_trap_11_an_unnamed_port_has_the_empty_name():
    found = collect(endpoint_slice(endpoint("10.1.0.1"), ports=[{"name": "", "port": 8080}]))
    assert texts(found.of("", Protocol.TCP)) == ["10.1.0.1:8080"]


def test_in_34_ports_are_matched_by_name_and_protocol():
    ports = [
        {"name": "dns", "port": 5353, "protocol": "UDP"},
        {"name": "dns", "port": 5300, "protocol": "TCP"},
        {"name": "sig", "port": 1, "protocol": "SCTP"},
    ]
    found = collect(endpoint_slice(endpoint("10.1.0.1"), ports=ports))
    assert texts(found.of("dns", Protocol.UDP)) == ["10.1.0.1:5353"]
    assert texts(found.of("dns", Protocol.TCP)) == ["10.1.0.1:5300"]
    assert texts(found.of("sig", Protocol.SCTP)) == ["10.1.0.1:1"]
    assert found.of("other", Protocol.TCP) == ()


def test_in_34_one_name_may_have_several_numbers():
    slices = (
        endpoint_slice(endpoint("10.1.0.1")),
        endpoint_slice(endpoint("10.1.0.1"), name="web-2", ports=[{"name": "http", "port": 9090}]),
    )
    assert texts(http(*slices)) == ["10.1.0.1:8080", "10.1.0.1:9090"]
    assert collect(*slices).notices == ()


@pytest.mark.parametrize(
    ("port", "field"), [({"port": 70000}, "ports[0].port"), ({"port": -1}, "ports[0].port"), ({"protocol": "udp"}, "ports[0].protocol")]
)
def test_an_unusable_slice_port_does_not_take_the_others_with_it(port, field):
    found = collect(endpoint_slice(endpoint("10.1.0.1"), ports=[{**TO_HTTP, **port, "name": "bad"}, TO_HTTP]))
    assert texts(found.of("http", Protocol.TCP)) == ["10.1.0.1:8080"]
    assert [(notice.subject, notice.field) for notice in found.notices] == [("EndpointSlice shop/web-1", field)]


def test_in_35_only_the_first_address_counts():
    one = endpoint("10.1.0.1")
    many = {**one, "addresses": ["10.1.0.1", "10.1.0.2"]}
    none, null = {**one, "addresses": []}, {**one, "addresses": None}
    found = collect(endpoint_slice(none, many, null))
    assert texts(found.of("http", Protocol.TCP)) == ["10.1.0.1:8080"]
    assert found.notices == ()


@pytest.mark.parametrize("address", ["nonsense", "fd00::1", "127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1"])
def test_an_unusable_address_does_not_take_the_other_endpoints_with_it(address):
    found = collect(endpoint_slice(endpoint(address), endpoint("10.1.0.2")))
    assert texts(found.of("http", Protocol.TCP)) == ["10.1.0.2:8080"]
    (notice,) = found.notices
    assert (notice.subject, notice.field) == ("EndpointSlice shop/web-1", "endpoints[0].addresses[0]")
    assert address in notice.text


def test_in_18_endpoint_addresses_are_normalised():
    assert texts(http(endpoint_slice(endpoint("010.001.000.010")))) == ["10.1.0.10:8080"]
    assert texts(http(endpoint_slice(endpoint("FD00:0::01"), family="IPv6"), family=V6)) == ["[fd00::1]:8080"]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, (True, True, False)),
        ({"ready": False}, (False, True, False)),
        ({"ready": None, "serving": None, "terminating": None}, (True, True, False)),
        ({"serving": False}, (True, False, False)),
        ({"ready": False, "serving": True, "terminating": True}, (False, True, True)),
    ],
)
def test_in_36_absent_conditions_have_defaults(conditions, expected):
    (one,) = http(endpoint_slice(endpoint("10.1.0.1", **conditions)))
    assert (one.ready, one.serving, one.terminating) == expected


@pytest.mark.parametrize(
    ("on", "node", "local", "hairpin"),
    [("n1", "n1", True, True), ("n2", "n1", False, False), (None, "n1", False, True), ("", "", False, True), ("N1", "n1", False, False)],
)
def test_in_37_an_endpoint_is_local_on_exactly_this_node(on, node, local, hairpin):
    (one,) = http(endpoint_slice(endpoint("10.1.0.1", node=on)), node=node)
    assert (one.backend.local, one.backend.hairpin) == (local, hairpin)


def test_in_38_hints_are_sets_of_names():
    (one,) = http(endpoint_slice(endpoint("10.1.0.1", zones=("b", "a", "b"), nodes=("n1",), zone="z")))
    assert (one.zones, one.nodes) == (("a", "b"), ("n1",))
    assert one.backend.zone == "z"  # for people only


def test_backends_carry_the_pod_for_people():
    (one,) = http(endpoint_slice(endpoint("10.1.0.1", node="n1", targetRef={"kind": "Pod", "name": "web-x"})))
    assert (one.backend.pod, one.backend.node) == ("web-x", "n1")
    (other,) = http(endpoint_slice(endpoint("10.1.0.1", targetRef={"kind": "VirtualMachine", "name": "vm"})))
    assert other.backend.pod == ""


OLD = endpoint("10.1.0.1", node="n1", ready=False, serving=True, terminating=True)
NEW = endpoint("10.1.0.1", node="n2")


@pytest.mark.parametrize("pair", [(OLD, NEW), (NEW, OLD)])
def test_in_39_a_terminating_duplicate_gives_way(pair):
    first, second = pair
    for slices in ((endpoint_slice(first, second),), (endpoint_slice(first), endpoint_slice(second, name="web-2"))):
        found = collect(*slices)
        (one,) = found.of("http", Protocol.TCP)
        assert (one.ready, one.backend.node) == (True, "n2")
        assert found.notices == ()


def test_in_39_of_two_terminating_duplicates_the_first_counts():
    later = endpoint("10.1.0.1", node="n2", ready=False, serving=True, terminating=True)
    (one,) = http(endpoint_slice(OLD), endpoint_slice(later, name="web-2"))
    assert one.backend.node == "n1"


def test_in_39_equal_duplicates_are_one_endpoint_without_a_word():
    found = collect(endpoint_slice(NEW), endpoint_slice(NEW, name="web-2"))
    assert len(found.of("http", Protocol.TCP)) == 1
    assert found.notices == ()


@pytest.mark.parametrize(("first", "second", "used"), [({}, {}, "web-1"), ({"ready": False}, {}, "web-2"), ({}, {"ready": False}, "web-1")])
def test_slices_that_contradict_each_other_are_reported(first, second, used):
    slices = (
        endpoint_slice(endpoint("10.1.0.1", node="n1", **first)),
        endpoint_slice(endpoint("10.1.0.1", node="n2", **second), name="web-2"),
    )
    found = collect(*slices)
    (one,) = found.of("http", Protocol.TCP)
    assert one.backend.node == ("n1" if used == "web-1" else "n2")
    (notice,) = found.notices
    assert notice.severity is Severity.SUSPICIOUS
    assert notice.subject == "EndpointSlice shop/web-2"
    assert "EndpointSlice web-1" in notice.text
    assert "nodeName" in notice.text
    assert f"what {used} says" in notice.text


def test_in_40_the_list_is_sorted_bytewise_by_text():
    numbers = ["10.1.0.9", "10.1.0.10", "10.1.0.1"]
    assert texts(http(endpoint_slice(*map(endpoint, numbers)))) == ["10.1.0.10:8080", "10.1.0.1:8080", "10.1.0.9:8080"]


ENDPOINTS = st.builds(
    endpoint,
    st.sampled_from(["10.1.0.1", "10.1.0.2", "010.1.0.1", "bad"]),
    node=st.sampled_from([None, "n1", "n2"]),
    ready=st.sampled_from([None, True, False]),
    terminating=st.sampled_from([None, True]),
)
SLICES = st.lists(st.lists(ENDPOINTS, max_size=3), min_size=1, max_size=3)


@given(SLICES, st.randoms())
def test_the_order_in_which_slices_arrived_does_not_matter(lists, random):
    slices = [endpoint_slice(*one, name=f"web-{index}") for index, one in enumerate(lists)]
    before = collect(*slices)
    random.shuffle(slices)
    assert collect(*slices) == before
    assert texts(before.of("http", Protocol.TCP)) == sorted(set(texts(before.of("http", Protocol.TCP))))
