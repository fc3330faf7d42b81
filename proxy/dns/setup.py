"""What of a node could not be set up for DNS, counted as NodeLocal DNSCache counts it, so that its alerts and dashboards go on working.

The types are its own: `iptables` (rules that lead queries here were not written), `iptables_lock` (because another program held the lock of
xtables), `interface_check` (it could not be seen which addresses are local), `interface_add` (an address could not be made local, or not be
listened at), `configmap` (a Corefile was refused). Each failed attempt counts, and all are told from the start as 0, so that the first
failure is an increase. Served with the other metrics of DNS, not at a port of its own (OBS-23).

The loops tell which keys the kernel did not take, `node` and `service` what else fails.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.dns.tally import Sample
from pointsman.iptables import names as iptables_names
from pointsman.ipvs import names as ipvs_names
from pointsman.proxy.dns import surroundings

METRIC: Final = "coredns_nodecache_setup_errors_total"
CHAINS: Final = (iptables_names.LOCAL_DNS, ipvs_names.LOCAL_DNS)


class Step(Enum):
    """What may fail; the values are those of the label `errortype`."""

    RULES = "iptables"
    LOCK = "iptables_lock"
    LOOK = "interface_check"
    ADDRESS = "interface_add"
    COREFILE = "configmap"


class Setup:
    """Counts failures of a node's set-up."""

    def __init__(self) -> None:
        self._failed = dict.fromkeys(Step, 0)

    def failed(self, step: Step) -> None:
        """Count a failed attempt."""
        self._failed[step] += 1

    def unwritten(self, keys: Iterable[object], error: KernelError) -> None:
        """Count a write that failed, if it was about rules that lead queries here."""
        if any(chain in str(key) for key in keys for chain in CHAINS):
            self.failed(Step.LOCK if error.kind is ErrorKind.BUSY and "lock" in str(error) else Step.RULES)

    def unlocal(self, error: KernelError) -> None:
        """Count that addresses could not be made local."""
        self.failed(Step.LOOK if error.subject == surroundings.ROUTES else Step.ADDRESS)

    def samples(self) -> tuple[Sample, ...]:
        """Return the counts."""
        return tuple(Sample(METRIC, (step.value,), (float(count),)) for step, count in self._failed.items())
