"""What the ipvs mode wants of some routes, and the plan that leads there."""

from fakes import routes as make
from pointsman.dataplane import plan as planning
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.fragment import Desired
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.frontends import Options


def desired(family, *routes, node=None, options=Options()):  # noqa: B008 - frozen
    """Return everything that these routes want, as a map."""
    compiler = IpvsCompiler(family, options)
    node = node or make.node(family)
    wanted = Desired()
    fragments = {planning.STATIC: compiler.static(node, make.routing(*routes))}
    fragments.update((route.key, compiler.compile(route, node)) for route in routes if route.family is family)
    wanted.update(fragments)
    return dict(wanted.values)


def difference(family, wanted, seen):
    """Return the plan that makes what was seen as wanted."""
    compiler = IpvsCompiler(family, Options())
    delta = Delta(wanted, compiler.group)
    delta.observe(seen)
    return planning.make(delta, compiler.rank, compiler.group)
