"""Every directive that is more than a remark makes its plugin."""

from fakes.chains import around
from fakes.corefiles import corefile
from pointsman.dns.corefile import options
from pointsman.dns.plugins.make import MAKERS, TOGETHER, make
from pointsman.dns.plugins.rewrite import Rewrite
from pointsman.dns.site import grouped

PROCESS = {
    options.HealthOptions, options.ReadyOptions, options.PrometheusOptions, options.ReloadOptions, options.BindOptions,
    options.TimeoutsOptions, options.ProcessOptions, options.DebugOptions,
}  # fmt: skip
"""What the process around the chains reads."""


def test_every_kind_of_settings_has_a_maker_or_belongs_to_the_process():
    kinds = {kind for kind in vars(options).values() if isinstance(kind, type) and issubclass(kind, options.Options)} - {options.Options}
    assert kinds == PROCESS | set(MAKERS) | set(TOGETHER)


def test_rules_of_one_plugin_come_together():
    block = corefile(".:53 {\n rewrite type A AAAA\n cache\n rewrite type AAAA A\n}").blocks[0]
    groups = grouped(block.options)
    assert [len(group) for group in groups] == [2, 1]
    assert isinstance(make(groups[0], around()), Rewrite)


def test_a_directive_of_the_process_makes_no_plugin():
    block = corefile(".:53 {\n reload\n whoami\n}").blocks[0]
    assert [make(group, around()) is None for group in grouped(block.options)] == [True, False]
