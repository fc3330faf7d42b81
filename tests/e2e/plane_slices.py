"""What the EndpointSlice controller has to make of Services and Pods, so that tests can wait until it has done so.

The controller acts a moment after a change. Who judged before would judge the state before, and see no fault where there is one.
"""

SERVICE_NAME = "kubernetes.io/service-name"
FAMILIES = {"IPv4": 0, "IPv6": 1}


def pending(services, pods, slices):
    """Return in words what the slices of Services with a selector do not say yet; empty if they say everything."""
    for service in services:
        spec, name = service["spec"], service["metadata"]["name"]
        if not spec.get("selector") or spec["type"] == "ExternalName":
            continue
        own = [one for one in slices if one["metadata"]["labels"].get(SERVICE_NAME) == name and one.get("endpoints")]
        backing = [pod for pod in pods if matches(spec["selector"], pod) and "podIPs" in pod["status"]]
        for family in FAMILIES:
            told = [one for one in own if one["addressType"] == family]
            wanted = wanted_endpoints(backing, family) if family in spec["ipFamilies"] else {}
            found = {end["addresses"][0]: states(end["conditions"]) for one in told for end in one["endpoints"]}
            if found != wanted:
                return f"{name}, {family}: {found}, not {wanted}"
            ports = {frozenset((port["name"], port["port"], port["protocol"]) for port in one["ports"]) for one in told}
            if wanted and ports != {wanted_ports(spec, backing)}:
                return f"{name}, {family}: ports {ports}"
    return ""


def matches(selector, pod):
    return selector.items() <= pod["metadata"]["labels"].items()


def states(conditions):
    return {name for name, value in conditions.items() if value}


def wanted_endpoints(pods, family):
    """Return address -> the conditions that are true."""
    made = {}
    for pod in pods:
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])
        ending = "deletionTimestamp" in pod["metadata"]
        of = {"serving": ready, "terminating": ending, "ready": ready and not ending}
        made[pod["status"]["podIPs"][FAMILIES[family]]["ip"]] = states(of)
    return made


def wanted_ports(spec, pods):
    """Return (name, number, protocol) of each port, named target ports resolved; all Pods of these tests name theirs alike."""
    named = {port["name"]: port["containerPort"] for port in pods[0]["spec"]["containers"][0].get("ports", ()) if "name" in port}
    return frozenset((port.get("name", ""), named.get(port["targetPort"], port["targetPort"]), port["protocol"]) for port in spec["ports"])
