"""kubernetes as a plugin of a chain: the server's catalog, in the place where the Corefile has it."""

from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import KubernetesOptions
from pointsman.dns.kubernetes import Kubernetes
from pointsman.dns.plugins.link import Quiet, Surroundings, Where


class Cluster(Quiet):
    """The kubernetes directive of a server block."""

    def __init__(self, options: KubernetesOptions, around: Surroundings) -> None:
        self.options = options
        self._around = around

    def link(self, following: Responder, where: Where) -> Responder:
        """Return the responder."""
        made = Kubernetes(self.options, self._around.catalog, where.everything, following, local=self._around.local)
        return made.answer

    def shortcuts(self, block: str) -> tuple[Plain, ...]:
        """Return the short cuts for its zones, before plugins in front are asked; `block` is the metrics' zone."""
        nobody = Kubernetes(self.options, self._around.catalog, _nobody, None, local=self._around.local)
        return nobody.plain(block)


async def _nobody(query: object) -> None:
    """Answer nothing: short cuts ask nobody."""
