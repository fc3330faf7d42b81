from pointsman.proxy.config import Config
from pointsman.proxy.flag_table import ACTION_FLAGS, FILE_FLAGS, NAMES, PORT_FLAGS, RUN_FLAGS, UNUSED_FLAGS
from pointsman.proxy.values import gates

KUBE_PROXY = """
    --config --write-config-to --cleanup --init-only --feature-gates --kubeconfig --master --kube-api-content-type --kube-api-qps
    --kube-api-burst --hostname-override --bind-address --healthz-bind-address --metrics-bind-address --bind-address-hard-fail --profiling
    --show-hidden-metrics-for-version --proxy-mode --iptables-masquerade-bit --masquerade-all --iptables-localhost-nodeports
    --iptables-sync-period --iptables-min-sync-period --ipvs-sync-period --ipvs-min-sync-period --ipvs-scheduler --ipvs-exclude-cidrs
    --ipvs-strict-arp --ipvs-tcp-timeout --ipvs-tcpfin-timeout --ipvs-udp-timeout --detect-local-mode --pod-bridge-interface
    --pod-interface-name-prefix --cluster-cidr --nodeport-addresses --oom-score-adj --conntrack-max-per-core --conntrack-min
    --conntrack-tcp-timeout-established --conntrack-tcp-timeout-close-wait --conntrack-tcp-be-liberal --conntrack-udp-timeout
    --conntrack-udp-timeout-stream --config-sync-period --healthz-port --metrics-port --proxy-port-range --version --v --vmodule
    --logging-format --log-flush-frequency --log-text-split-stream --log-text-info-buffer-size --log-json-split-stream
    --log-json-info-buffer-size --boot-id-file --machine-id-file
"""
"""kube-proxy's complete set."""


def test_cfg_40_every_flag_of_kube_proxy_is_taken() -> None:
    assert set(KUBE_PROXY.split()) <= {f"--{flag.name}" for flag in RUN_FLAGS}


def test_names_and_fields_are_unique() -> None:
    assert len({flag.name for flag in RUN_FLAGS}) == len(RUN_FLAGS)
    assert len({flag.field for flag in RUN_FLAGS}) == len(RUN_FLAGS)


def test_every_field_has_exactly_one_flag() -> None:
    others = {flag.field for flag in (*FILE_FLAGS, *ACTION_FLAGS, *PORT_FLAGS, *UNUSED_FLAGS)}
    fields = [field for flag in RUN_FLAGS for field in (flag.field, *flag.also) if field not in others]
    assert sorted([*fields, "nftables_masquerade_bit"]) == sorted(Config.__struct_fields__)  # kube-proxy has no flag for that one
    assert set(NAMES) >= set(fields)


def test_choices_are_words_that_the_flag_reads() -> None:
    for flag in RUN_FLAGS:
        assert all(flag.read(word) == word for word in flag.choices)


def test_a_flag_for_several_modes_sets_the_field_of_each() -> None:
    assert {flag.name: flag.also for flag in RUN_FLAGS if flag.also} == {
        "masquerade-all": ("nftables_masquerade_all",),
        "iptables-sync-period": ("nftables_sync_period",),
        "iptables-min-sync-period": ("nftables_min_sync_period",),
    }


def test_lists_that_add_up_are_read_as_tuples() -> None:
    assert all(isinstance(flag.read(""), tuple) for flag in RUN_FLAGS if flag.many)
    assert gates("") == ()
