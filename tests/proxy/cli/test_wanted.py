import click
import pytest
from click.testing import CliRunner
from pointsman.proxy.cli.wanted import SOURCE_FLAGS, WantedError, known
from pointsman.proxy.demo import manifests
from pointsman.proxy.flags import FlagCommand


def chosen(*arguments):
    seen = []

    @click.command("x", cls=FlagCommand, flags=SOURCE_FLAGS)
    @click.pass_context
    def command(ctx, /, **values):
        seen.append(known(ctx, values))

    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception:
        raise result.exception
    return seen[0] if seen else result


def test_a_folder_needs_no_agent():
    found = chosen("--manifests", str(manifests.SHOP), "--hostname-override", "n1")
    assert (found.origin, found.live) == (str(manifests.SHOP), False)


def test_without_an_agent_it_says_what_else_there_is(tmp_path):
    with pytest.raises(WantedError, match="or name a source of objects: --manifests DIR or --kubeconfig FILE") as caught:
        chosen("--socket", str(tmp_path / "none"))
    assert caught.value.exit_code == 3


def test_a_mode_that_cannot_be_programmed_is_told_and_a_flag_that_is_wrong():
    assert chosen("--manifests", str(manifests.SHOP), "--masquerade-all=perhaps").return_value == 2
