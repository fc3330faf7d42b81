import pytest
from pointsman.proxy.capabilities import lacking, refusal

BOTH, ONE, NONE = "0000000000003000", "0000000000001000", "0000000000000000"


def status(user: int, effective: str, ambient: str) -> str:
    return f"Name:\tpointsman\nUid:\t{user}\t{user}\t{user}\t{user}\nCapEff:\t{effective}\nCapBnd:\t{BOTH}\nCapAmb:\t{ambient}\n"


@pytest.mark.parametrize("text", [status(0, BOTH, NONE), status(0, "000001ffffffffff", NONE), status(1000, BOTH, BOTH)])
def test_proc_05_two_capabilities_are_enough_whoever_has_them(text: str) -> None:
    assert lacking(text) == ""


def test_root_in_a_container_is_told_what_its_manifest_lacks() -> None:
    assert "root without CAP_NET_RAW," in lacking(status(0, ONE, NONE))
    assert "add: [NET_ADMIN, NET_RAW]" in lacking(status(0, NONE, NONE))


@pytest.mark.parametrize("text", [status(1000, BOTH, NONE), status(1000, NONE, NONE), ""])
def test_capabilities_that_the_tools_do_not_inherit_are_not_enough(text: str) -> None:
    assert "only root, or a user with the ambient capabilities CAP_NET_ADMIN and CAP_NET_RAW" in lacking(text)


def test_this_process_can_be_asked() -> None:
    assert isinstance(refusal(), str)
