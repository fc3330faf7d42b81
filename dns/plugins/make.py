"""From settings to plugins: which class runs a directive."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any as Whatever

from pointsman.dns.corefile import options
from pointsman.dns.plugins.acl import Acl
from pointsman.dns.plugins.autopath import Autopath
from pointsman.dns.plugins.cache import Cache
from pointsman.dns.plugins.cluster import Cluster
from pointsman.dns.plugins.dns64 import Dns64
from pointsman.dns.plugins.fixed import Any, Chaos, Local, Whoami
from pointsman.dns.plugins.flags import Bufsize, Cancel, Header, Loadbalance, Minimal, Nsid
from pointsman.dns.plugins.forward import Forward
from pointsman.dns.plugins.hosts import Hosts
from pointsman.dns.plugins.link import Plugin, Surroundings
from pointsman.dns.plugins.loop import Loop
from pointsman.dns.plugins.reporting import Errors, Log
from pointsman.dns.plugins.rewrite import Rewrite
from pointsman.dns.plugins.template import Template

Maker = Callable[[Whatever, Surroundings], Plugin]
"""Makes a plugin of one directive's settings: each maker takes its own kind of them."""

MAKERS: Mapping[type[options.Options], Maker] = {
    options.CancelOptions: lambda option, _: Cancel(option),
    options.NsidOptions: Nsid,
    options.BufsizeOptions: lambda option, _: Bufsize(option),
    options.ErrorsOptions: Errors,
    options.LocalOptions: Local,
    options.Dns64Options: Dns64,
    options.AnyOptions: lambda *_: Any(),
    options.ChaosOptions: Chaos,
    options.LoadbalanceOptions: lambda *_: Loadbalance(),
    options.AutopathOptions: Autopath,
    options.CacheOptions: Cache,
    options.HeaderOptions: lambda option, _: Header(option),
    options.MinimalOptions: lambda *_: Minimal(),
    options.TemplateOptions: Template,
    options.HostsOptions: Hosts,
    options.KubernetesOptions: Cluster,
    options.LoopOptions: lambda option, around: Loop(around, option.zone),
    options.ForwardOptions: Forward,
    options.WhoamiOptions: lambda *_: Whoami(),
}
"""Directives that make a plugin each."""

TOGETHER: Mapping[type[options.Options], Maker] = {options.LogOptions: Log, options.RewriteOptions: Rewrite, options.AclOptions: Acl}
"""Directives whose settings make one plugin together."""


def make(group: Sequence[options.Options], around: Surroundings) -> Plugin | None:
    """Return the plugin of some settings of one kind; None if they make none (bind, reload, health and their like)."""
    kind = type(group[0])
    if kind in TOGETHER:
        return TOGETHER[kind](group, around)
    return MAKERS[kind](group[0], around) if kind in MAKERS else None
