"""What people and programs see of a demonstration."""

import io
import json

import pytest
from msgspec import structs
from pointsman.proxy.demo import scene, show
from pointsman.proxy.demo.judgement import Finding, Met
from pointsman.proxy.demo.lab_probe import Ending
from pointsman.proxy.demo.removal import Removal
from rich.console import Console


@pytest.fixture
def finding(find, oracle):
    case = find("shop/web:http", "cluster IP", "pod till-0")
    met = (Met("n1p1", 15, ("10.244.1.16",)), Met("n2p1", 45, ("10.244.1.16",)))
    return Finding(case, oracle.trace(case.packet), 60, {Ending.ANSWERED: 60}, met, ())


def printed(snapshot, cases, findings):
    file = io.StringIO()
    screen = show.Screen(scene.pods(snapshot), Console(file=file, highlight=False))
    screen.open(cases)
    for one in findings:
        screen.add(one)
    screen.close()
    return file.getvalue()


def test_a_row_names_service_sender_backends_source_and_expectation(snapshot, finding):
    [_, row] = printed(snapshot, [finding.case], [finding]).splitlines()
    named = ("shop/web:http", "cluster IP 10.96.10.1:80", "pod till-0 (10.244.1.16)")
    for text in (*named, "25%", "75%", "33% each, own source (SEM-03)", "ok"):
        assert text in row


def test_differences_are_spelt_out(snapshot, finding):
    wrong = structs.replace(finding, differences=("n9 was met, which is no backend here",))
    assert "DIFFERS: n9 was met" in " ".join(printed(snapshot, [finding.case], [wrong]).split())


def test_a_difference_in_ipv6_has_its_own_row(snapshot, cases, finding, oracle):
    asked = [case for case in cases if case.subject == "shop/web:http" and case.sender == finding.case.sender]
    twin = next(case for case in asked if case.family.value == "IPv6" and case.frontend.startswith("cluster IP"))
    wrong = Finding(twin, oracle.trace(twin.packet), 60, {Ending.SILENT: 60}, (), ("60 connections were silent, not answered",))
    text = printed(snapshot, [finding.case, twin], [finding, wrong])
    assert "[fd00:10:96::a01]:80" in text
    assert "no answer" in text


def test_what_has_not_been_tried_is_shown_as_open(snapshot, finding):
    assert "..." in printed(snapshot, [finding.case], [])


def test_without_a_table_nothing_is_printed(snapshot, finding):
    file = io.StringIO()
    screen = show.Screen(scene.pods(snapshot), Console(file=file))
    screen.add(finding)
    screen.close()
    assert file.getvalue() == ""


def test_a_removal_is_told_in_two_lines():
    file = io.StringIO()
    measured = Removal("shop/web:http", "web-1", {"IPv4": 12.3, "IPv6": None}, 12, 4, 300, 1)
    show.Screen({}, Console(file=file)).removal(measured)
    assert "12 ms (IPv4), it goes on (IPv6)" in file.getvalue()
    assert "12 established connections, 4 of them to web-1: 300 exchanges went through, 1 connections broke" in file.getvalue()
    assert not measured.passed


@pytest.mark.parametrize(("name", "wanted"), [("web-6c9f7d58b4-cvjcd", "cvjcd"), ("cart-0", "cart-0"), ("till", "till")])
def test_generated_names_are_shortened(name, wanted):
    assert show.short(name) == wanted


def test_expectations_cite_the_rules(find, oracle):
    def told(*question):
        return show.expectation(oracle.trace(find(*question).packet))

    assert told("shop/cart:grpc", "cluster IP", "node") == "always the same, masqueraded (SEM-03, SEM-04)"
    assert told("shop/gateway:https", "load", "outside via n1") == "own source (SEM-14)"
    assert told("shop/recommendations:http", "cluster", "pod") == "reject (SEM-01)"
    assert told("shop/web:http", "cluster IP", "its pod") == "33% each, own source, hairpin masqueraded (SEM-03, SEM-20)"


def test_json_holds_everything(snapshot, finding):
    whole = json.loads(show.document("iptables", "nft", [finding], None, scene.pods(snapshot)))
    assert whole["passed"] is True
    [case] = whole["cases"]
    assert case["service"] == "shop/web:http"
    assert case["connections"] == 60
    assert [one["connections"] for one in case["backends"]] == [15, 45]
    assert len(case["expected"]["shares"]) == 3


def test_json_says_when_something_differs(finding):
    whole = json.loads(show.document("iptables", "nft", [structs.replace(finding, differences=("x",))], None, {}))
    assert whole["passed"] is False
