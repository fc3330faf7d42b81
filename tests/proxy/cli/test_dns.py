"""`pointsman dns` and its subcommands in the lists."""

from click.testing import CliRunner
from pointsman.proxy.cli import dns
from pointsman.proxy.cli.main import COMMANDS


def test_every_subcommand_is_there_and_has_help():
    assert COMMANDS["dns"][0] == dns.__name__
    listed = CliRunner().invoke(dns.command, ["--help"]).output
    for name in dns.SUBCOMMANDS:
        assert f"  {name} " in listed
        told = CliRunner().invoke(dns.command, [name, "--help"])
        assert told.exit_code == 0
        assert "Exit status:" in told.output


def test_an_unknown_subcommand_is_wrong():
    assert CliRunner().invoke(dns.command, ["sing"]).exit_code == 2
