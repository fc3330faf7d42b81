from pointsman.proxy.demo.faults import FAULTS, of
from pointsman.proxy.modes import MODES


def test_every_fault_can_be_planted_somewhere_and_is_named_by_each_command():
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    for fault in FAULTS:
        assert any(fault in of(mode) for mode in MODES)
        assert fault.named.keys() == {"explain", "diff", "doctor"}
        assert all(fault.named.values())
        assert fault.seen
        assert fault.done


def test_commands_are_those_of_the_variant():
    for fault in FAULTS:
        for step in fault.steps("legacy"):
            assert "{" not in step
            assert "iptables-nft" not in step


def test_the_question_is_a_command():
    assert FAULTS[0].asked == "pointsman explain --from pod/shop/till-0 --to web.shop:80"
    assert any(fault.asked.endswith("--protocol udp") for fault in FAULTS)
