"""resolv.conf files: what is read, and what is passed over."""

from pointsman.dns.resolvconf import ResolvConf, canonical, parse


def test_what_a_resolver_reads():
    text = (
        "# c\nnameserver 192.0.2.1\nnameserver 2001:DB8::0:1 # x\nnameserver 192.0.2.1\nsearch a.example b.example\noptions edns0 ndots:5\n"
    )
    assert parse(text) == ResolvConf(("192.0.2.1", "2001:db8::1"), ("a.example", "b.example"))


def test_what_means_nothing_is_passed_over():
    assert parse("nameserver\nnameserver x\n;nameserver 192.0.2.1\nsortlist y\n") == ResolvConf()


def test_domain_is_a_search_list_of_one_and_the_last_line_counts():
    assert parse("search a b\ndomain c\n").search == ("c",)


def test_addresses_have_one_spelling():
    assert canonical("2001:DB8:0::1") == "2001:db8::1"
    assert canonical("fe80::1%eth0") == "fe80::1%eth0"
    assert canonical("dns.example") == ""
