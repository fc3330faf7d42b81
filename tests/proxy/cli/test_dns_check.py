"""`pointsman dns check`: everything at once, in words and as JSON (COR-30)."""

import json
from pathlib import Path

from click.testing import CliRunner
from pointsman.proxy.cli.dns_check import command

GOOD = "example.org:5300 {\n    bind 127.0.0.1\n    forward . 192.0.2.1\n    cache\n    pprof\n}\n"
BAD = ".:53 {\n    proxy . 192.0.2.1\n    cache {\n        bogus\n    }\n    k8s_external a.org\n}\n"
FIXTURES = Path(__file__).parents[2] / "dns" / "corefile" / "fixtures"


def check(*arguments, stdin=""):
    return CliRunner().invoke(command, [*map(str, arguments)], input=stdin, standalone_mode=False)


def test_a_good_corefile_is_summed_up_in_running_order(tmp_path):
    (tmp_path / "Corefile").write_text(GOOD)
    result = check(tmp_path / "Corefile")
    assert result.return_value == 0
    first, second, third = result.stdout.splitlines()
    assert first == "example.org.:5300 on 127.0.0.1: bind, pprof, cache, forward"
    assert second == "the Corefile can be used (1 warning)"
    assert third.startswith("SHA512 ")
    assert "Corefile:5 - Warning: pprof" in result.stderr


def test_cor_30_every_error_is_told_with_file_and_line(tmp_path):
    (tmp_path / "Corefile").write_text(BAD)
    result = check(tmp_path / "Corefile")
    assert result.return_value == 2
    lines = [line.split(" - ")[0].rpartition(":")[2] for line in result.stderr.splitlines()[:-1]]
    assert lines == ["2", "4", "6"]
    assert result.stderr.splitlines()[-1] == "3 errors: the Corefile cannot be used"
    assert result.stdout == ""


def test_standard_input_and_json():
    result = check("-", "-o", "json", stdin=BAD)
    assert result.return_value == 2
    found = json.loads(result.stdout)
    assert not found["usable"]
    assert [(one["file"], one["line"], one["severity"]) for one in found["findings"]] == [("stdin", line, "error") for line in (2, 4, 6)]
    good = json.loads(check("-", "-o", "json", stdin=GOOD).stdout)
    (served,) = good["serverBlocks"]
    assert served == {"keys": ["example.org.:5300"], "bind": ["127.0.0.1"], "plugins": ["bind", "pprof", "cache", "forward"]}
    assert len(good["sha512"]) == 128


def test_fwd_03_a_resolv_conf_that_leads_to_this_machine_is_a_warning(tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.53\n")
    result = check("-", stdin=f".:53 {{\n forward . {conf}\n}}")
    assert result.return_value == 0
    assert "names 127.0.0.53, a resolver of this machine" in result.stderr
    conf.write_text("\n")
    assert "names no nameserver" in check("-", stdin=f".:53 {{\n forward . {conf}\n}}").stderr
    assert "cannot be read here" in check("-", stdin=f".:53 {{\n forward . {conf}.gone\n}}").stderr


def test_a_file_that_is_not_there(tmp_path):
    result = check(tmp_path / "nothing")
    assert result.return_value == 2
    assert "No such file" in result.stderr


def test_corefiles_of_the_field_can_be_used():
    results = {path.name: check(path).return_value for path in FIXTURES.glob("*.Corefile")}
    assert len(results) >= 10
    assert set(results.values()) == {0}
