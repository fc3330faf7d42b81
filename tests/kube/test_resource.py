"""What is asked for: the selectors of IN-01 to IN-04, and other forms for servers that do not know the first."""

from pointsman.kube.objects import Kind
from pointsman.kube.resource import Selectors, Way, resources


def of(kind, **options):
    return {one.kind: one for one in resources("n1", **options)}[kind]


def test_in_01_services_of_other_proxies_and_headless_ones_stay_away():
    best = of(Kind.SERVICE).forms[0]
    assert best.selectors == {"labelSelector": "!service.kubernetes.io/service-proxy-name", "fieldSelector": "spec.clusterIP!=None"}


def test_in_02_headless_slices_stay_away():
    assert of(Kind.ENDPOINT_SLICE).forms[0].selectors == {"labelSelector": "!service.kubernetes.io/headless"}


def test_in_03_exactly_one_node_is_followed():
    assert all(form.selectors == {"fieldSelector": "metadata.name=n1"} for form in of(Kind.NODE).forms)
    assert not of(Kind.NODE).optional


def test_pain_25_all_nodes_are_followed_where_addresses_become_this_nodes_own():
    assert all(form.selectors == {} for form in of(Kind.NODE, all_nodes=True).forms)


def test_in_04_service_cidrs_are_looked_for_in_both_versions():
    cidrs = of(Kind.SERVICE_CIDR)
    assert cidrs.paths == ("/apis/networking.k8s.io/v1/servicecidrs", "/apis/networking.k8s.io/v1beta1/servicecidrs")
    assert cidrs.optional


def test_rec_07_dns_may_ask_for_headless_ones_too():
    selectors = Selectors(headless=True)
    assert of(Kind.SERVICE, selectors=selectors).forms[0].selectors == {"labelSelector": "!service.kubernetes.io/service-proxy-name"}
    assert of(Kind.ENDPOINT_SLICE, selectors=selectors).forms[0].selectors == {}


def test_pods_are_followed_only_on_demand_and_only_those_of_this_node():
    assert Kind.POD not in {one.kind for one in resources("n1")}
    assert of(Kind.POD, pods=True).selectors == {"fieldSelector": "spec.nodeName=n1"}


def test_ext_01_service_imports_are_followed_only_on_demand_in_the_version_that_all_have_first():
    assert Kind.SERVICE_IMPORT not in {one.kind for one in resources("n1", all_pods=True)}
    imports = of(Kind.SERVICE_IMPORT, imports=True)
    assert imports.paths == tuple(f"/apis/multicluster.x-k8s.io/{version}/serviceimports" for version in ("v1alpha1", "v1beta1"))
    assert imports.right == "list and watch serviceimports in multicluster.x-k8s.io"
    assert imports.optional
    assert imports.again < of(Kind.SERVICE_CIDR).again


def test_what_is_lost_without_an_optional_kind_is_said_and_which_right_it_takes():
    optional = {one.kind: one for one in resources("n1", all_pods=True, imports=True) if one.optional}
    assert all(one.lost for one in optional.values())
    assert optional[Kind.POD].right == "list and watch pods"
    assert optional[Kind.SERVICE_CIDR].right == "list and watch servicecidrs in networking.k8s.io"


def test_forms_go_from_the_best_to_the_plainest():
    forms = of(Kind.SERVICE).forms
    assert [form.way for form in forms] == [*Way, Way.WHOLE, Way.PAGES]
    assert ["fieldSelector" in form.selectors for form in forms] == [True, True, True, False, False]
    assert [form.way for form in of(Kind.ENDPOINT_SLICE).forms] == list(Way)
