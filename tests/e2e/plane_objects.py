"""Objects that the tests create in a real API server, and what kubelets and cloud providers would say of them.

A Pod's address is that of a namespace of the laboratory which plays it, so an EndpointSlice that the real controller makes leads packets
somewhere. `Stage` is one API namespace of a test.
"""

import asyncio

import plane_slices
from plane_api import STATUS, path_of
from plane_slices import SERVICE_NAME
from plane_wait import until
from pointsman.routing.route import Family

ZONE = "topology.kubernetes.io/zone"
APP = "app"


def metadata(name, namespace="", **more):
    return {"name": name} | ({"namespace": namespace} if namespace else {}) | more


def node(topology, name, zone):
    """Return a Node as kubelet registers it, and the status that kubelet writes."""
    ranges = [topology.pod_range(name, family) for family in Family]
    labels = {ZONE: zone, "kubernetes.io/hostname": name}
    spec = {"podCIDR": ranges[0], "podCIDRs": ranges}
    made = {"apiVersion": "v1", "kind": "Node", "metadata": metadata(name, labels=labels), "spec": spec}
    addresses = [{"type": "InternalIP", "address": topology.places[name].addresses[family]} for family in Family]
    status = {
        "addresses": [*addresses, {"type": "Hostname", "address": name}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": None,
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
        "capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"},
    }
    return made, {"status": status}


def port(number, target=None, name="", protocol="TCP", **more):
    """Return one entry of spec.ports."""
    return {"port": number, "protocol": protocol, "targetPort": target or 8080} | ({"name": name} if name else {}) | more


def service(namespace, name, ports, *, app="", families=("IPv4", "IPv6"), **spec):
    """Return a Service; dual stack unless it is told otherwise, with a selector if `app` is given."""
    policy = "RequireDualStack" if len(families) == 2 else "SingleStack"
    made = {"ports": list(ports), "ipFamilyPolicy": policy, "ipFamilies": list(families)} | spec
    if app:
        made["selector"] = {APP: app}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(name, namespace), "spec": made}


def endpoint_slice(namespace, name, owner, endpoints, ports=((8080, ""),), family="IPv4"):
    """Return a slice as a custom controller makes it; endpoints are (address, node name) pairs."""
    made = [{"addresses": [address], "nodeName": at, "conditions": {"ready": True}} for address, at in endpoints]
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": metadata(name, namespace, labels={SERVICE_NAME: owner, "endpointslice.kubernetes.io/managed-by": "e2e.pointsman.dev"}),
        "endpoints": made, "ports": [{"port": number, "name": of, "protocol": "TCP"} for number, of in ports],
    }


class Stage:
    """One API namespace, in which a test creates and changes objects."""

    def __init__(self, plane, name):
        self.api, self.name, self._topology = plane.api, name, plane.lab.topology

    async def open(self):
        """Create the namespace and wait for its service account, without which it takes no Pods."""
        await self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(self.name)})
        await until(lambda: self.api.exists(f"/api/v1/namespaces/{self.name}/serviceaccounts/default"))

    async def close(self):
        """Delete everything of it at once; the API namespace itself goes when its controller has time."""
        for kind in ("services", "pods"):
            path = f"/api/v1/namespaces/{self.name}/{kind}"
            await asyncio.gather(*(self.api.delete(f"{path}/{one['metadata']['name']}", 0) for one in await self.api.items(path)))
        await self.api.delete(f"/apis/discovery.k8s.io/v1/namespaces/{self.name}/endpointslices")
        await self.api.delete(f"/api/v1/namespaces/{self.name}")

    async def pods(self, app, *places, ready=True, ports=()):
        """Create a Pod for each place, named after it, and say of them what their kubelet would."""
        await asyncio.gather(*(self._pod(app, place, ready, ports) for place in places))

    async def _pod(self, app, place, ready, ports):
        at = self._topology.places[place]
        named = [{"name": name, "containerPort": number, "protocol": protocol} for name, number, protocol in ports]
        container = {"name": "main", "image": "none", "ports": named}
        spec = {"nodeName": at.node, "containers": [container], "terminationGracePeriodSeconds": 600}
        one = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(f"{app}-{place}", self.name, labels={APP: app}), "spec": spec}
        await self.api.create(one)
        addresses = [at.addresses[family] for family in Family]
        status = {"phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses]}
        await self.api.patch(path_of(one, STATUS), {"status": status | {"conditions": _conditions(ready)}})

    async def say(self, app, *places, ready):
        """Flip the readiness of Pods."""
        status = {"status": {"conditions": _conditions(ready)}}
        await asyncio.gather(*(self.api.patch(f"{self._path('pods', f'{app}-{place}')}/status", status) for place in places))

    async def end(self, app, *places, at_once=False):
        """Delete Pods: they terminate, and stay until their kubelet says that they have ended; `at_once` leaves nothing."""
        await asyncio.gather(*(self.api.delete(self._path("pods", f"{app}-{place}"), 0 if at_once else 600) for place in places))

    async def service(self, name, ports, **spec):
        """Create a Service; return it as the API server has it."""
        [made] = await self.api.create(service(self.name, name, ports, **spec))
        return made

    async def change(self, name, **spec):
        """Merge into a Service's spec; return the result."""
        return await self.api.patch(self._path("services", name), {"spec": spec})

    async def balance(self, name, *addresses):
        """Give a Service load-balancer IPs, as a cloud provider does."""
        ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]
        await self.api.patch(f"{self._path('services', name)}/status", {"status": {"loadBalancer": {"ingress": ingress}}})

    async def remove(self, name):
        await self.api.delete(self._path("services", name))

    async def slices(self, owner, *groups, prefix=""):
        """Create one EndpointSlice for each group of (address, node) pairs, named `owner-0`, `owner-1` ..."""
        made = [endpoint_slice(self.name, f"{prefix or owner}-{number}", owner, group) for number, group in enumerate(groups)]
        return await self.api.create(*made)

    async def pending(self):
        """Return in words what the EndpointSlice controller has still to do; empty if nothing."""
        roots = (f"/api/v1/namespaces/{self.name}", f"/apis/discovery.k8s.io/v1/namespaces/{self.name}")
        paths = (f"{roots[0]}/services", f"{roots[0]}/pods", f"{roots[1]}/endpointslices")
        return plane_slices.pending(*await asyncio.gather(*map(self.api.items, paths)))

    async def settled(self):
        """Wait until the controllers have done what follows from everything that was changed."""
        said = ["not asked"]

        async def done():
            said[0] = await self.pending()
            return not said[0]

        await until(done, says=lambda: said[0])

    def slice_path(self, name):
        return f"/apis/discovery.k8s.io/v1/namespaces/{self.name}/endpointslices/{name}"

    async def endpoints(self, owner):
        """Return what the slices of a Service say: address -> conditions, of ready, serving and terminating those that are true."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.name}/endpointslices?labelSelector={SERVICE_NAME}%3D{owner}"
        found = {}
        for one in await self.api.items(path):
            for each in one.get("endpoints") or ():
                found[each["addresses"][0]] = {name for name, value in each["conditions"].items() if value}
        return found

    def _path(self, kind, name):
        return f"/api/v1/namespaces/{self.name}/{kind}/{name}"


def _conditions(ready):
    return [{"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}]
