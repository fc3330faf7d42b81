from pointsman.explain.findings import Finding, Level


def test_the_worst_comes_first_and_a_finding_stops_nothing_unless_it_says_so():
    assert [level.value for level in Level] == ["bad", "warn", "ok"]
    assert Finding(Level.OK, "mtu", "1500").stops == ""
