"""template: replies made from the query (section 3.5 of the specification)."""

import pytest
from fakes.chains import AAAA, CNAME, MX, PTR, SOA, TXT, A, answers, around, edns, linked, query, record, values
from fakes.corefiles import options
from pointsman.dns.contract import Plain
from pointsman.dns.corefile.options import TemplateOptions
from pointsman.dns.names import text, wire
from pointsman.dns.plugins.template import Template, TemplateError, parsed
from pointsman.dns.question import AA, TC
from pointsman.dns.reply import Life, Reply, failure

IP_NAME = r"match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$"
IP_ANSWER = 'answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"'


def template(*lines):
    return linked(Template(options(TemplateOptions, *lines), around()))


async def test_groups_make_an_address():
    respond, _ = template("template IN A example {", IP_NAME, IP_ANSWER, "fallthrough", "}")
    reply = await respond(query("x.IP-10-0-0-7.example"))
    assert values(reply) == [("x.IP-10-0-0-7.example.", A, 60, bytes((10, 0, 0, 7)))]
    assert reply.life == Life()


async def test_numbered_groups_zone_class_and_type():
    respond, _ = template(
        "template ANY ANY example {", r"match ^(\w+)\.(\w+)\.example\.$",
        'answer "{{ .Name }} 60 {{ .Class }} TXT {{ index .Match 2 }}-{{ .Type }}"',
        'authority "{{ .Zone }} 60 IN SOA ns.example. h.example. (1 60 60 60 60)"', 'additional "{{ .Name }} 60 IN A 192.0.2.1"', "}",
    )  # fmt: skip
    reply = await respond(query("a.b.example", MX))
    assert [(one.rtype, one.rdata) for one in reply.answer] == [(TXT, b"\x04b-MX")]
    assert (reply.authority[0].owner, reply.authority[0].rtype, reply.additional[0].rtype) == (wire("example"), SOA, A)


async def test_rcode_and_extended_error():
    respond, _ = template("template ANY ANY invalid {", "rcode NXDOMAIN", 'ederror 21 "not here"', "}")
    reply = await respond(query("x.invalid", edns=edns()))
    assert (reply.rcode, reply.options) == (3, b"\0\x0f\0\x0a\0\x15not here")


async def test_blocking_a_type_leaves_the_others_alone():
    respond, behind = template("template IN AAAA . {", "}")
    assert (await respond(query("a.example", AAAA))).rcode == 0
    await respond(query("a.example", A))
    assert len(behind.asked) == 1


async def test_no_match_is_servfail_without_fallthrough():
    respond, behind = template("template IN A example {", r"match ^a\.example\.$", "rcode NOERROR", "}")
    reply = await respond(query("b.example"))
    assert reply.rcode == 2
    assert reply.error
    await respond(query("b.org"))
    assert len(behind.asked) == 1


async def test_fallthrough_for_some_zones():
    respond, behind = template("template IN A . {", "match ^never$", "fallthrough a.example", "}")
    await respond(query("x.a.example"))
    assert len(behind.asked) == 1
    assert (await respond(query("x.b.example"))).rcode == 2


async def test_templates_are_tried_one_after_another():
    text = '.:53 {\n template IN A . {\n  match ^a\n  answer "{{ .Name }} IN A 192.0.2.1"\n  fallthrough\n }\n'
    text += ' template IN A . {\n  answer "{{ .Name }} A 192.0.2.2"\n }\n}'
    assert values(await answers(text, query("a.example")))[0] == ("a.example.", A, 3600, bytes((192, 0, 2, 1)))
    assert values(await answers(text, query("b.example")))[0][3] == bytes((192, 0, 2, 2))


async def test_what_tells_the_client_s_address_is_for_him_alone():
    respond, _ = template("template IN TXT . {", 'answer "{{ .Name }} 0 IN TXT {{ .Remote }}"', "}")
    reply = await respond(query("a.example", TXT))
    assert (reply.answer[0].rdata, reply.life) == (b"\x0a192.0.2.77", None)


async def test_a_record_that_cannot_be_read_is_servfail_with_its_text():
    respond, _ = template("template IN A . {", 'answer "{{ .Name }} 60 IN A {{ .Group.nobody }}"', "}")
    reply = await respond(query("a.example"))
    assert reply.rcode == 2
    assert "a.example. 60 IN A <no value>" in reply.error


async def test_the_target_of_an_alias_is_looked_up_by_the_whole_server():
    """Stub resolvers need the address in the same reply; a cut look-up cuts the reply (REC-63)."""
    asked = []

    async def everything(query):
        asked.append((text(query.name), query.qtype))
        return Reply(answer=(record("d.example", A, 9, b"1234"),), flags=TC)

    lines = ("template ANY ANY example {", r"match ^alias\.", 'answer "{{ .Name }} 60 IN CNAME d.example."', "}")
    respond, _ = linked(Template(options(TemplateOptions, *lines), around()), everything=everything)
    reply = await respond(query("alias.example"))
    assert [(one.rtype, one.ttl) for one in reply.answer] == [(CNAME, 60), (A, 9)]
    assert (reply.flags, reply.life, asked) == (AA | TC, None, [("d.example.", A)])
    assert len((await respond(query("alias.example", MX))).answer) == 1


async def test_aliases_that_turn_in_a_circle_end():
    text = '.:53 {\n template IN A . {\n  answer "{{ .Name }} 60 IN CNAME x.{{ .Name }}"\n }\n}'
    assert (await answers(text, query("a.example"))).answer[0].rtype == CNAME
    text = text.replace("x.{{ .Name }}", "a.example.")
    assert len((await answers(text, query("a.example"))).answer) == 1


async def test_who_asks_for_any_gets_what_templates_of_all_types_say():
    lines = ('answer "{{ .Name }} 60 IN A 192.0.2.1"', 'additional "{{ .Name }} 0 IN TXT {{ .Type }}"')
    respond, _ = template("template IN A . {", *lines, "}")
    reply = await respond(query("a.example", 255))
    assert (reply.answer[0].rtype, reply.additional[0].rdata) == (A, b"\x01A")
    assert (await respond(query("a.example", qclass=255))).answer[0].rclass == 1


async def test_rcode_servfail_is_a_failure_of_the_server():
    respond, _ = template("template IN A . {", 'answer "{{ .Name }} 60 IN A 192.0.2.1"', "rcode SERVFAIL", "}")
    assert await respond(query("a.example")) == failure(2, "template")


@pytest.mark.parametrize(
    ("text", "rtype", "ttl"),
    [
        ("a.example. 1m IN A 192.0.2.1", A, 60), ("a.example. IN 1H30m5 A 192.0.2.1", A, 5405), ("a.example. 1w2d A 192.0.2.1", A, 777600),
        ("a.example. 60 IN A 192.0.2.1", A, 60), ("a.example. IN 60 A 192.0.2.1", A, 60), ("a.example. A 192.0.2.1", A, 3600),
        (r"a\ b.example. 7 A 192.0.2.1", A, 7), ("a.example. 5 IN MX 10 m.example.", MX, 5), ("7.example. 5 PTR a.example.", PTR, 5),
    ],
)  # fmt: skip
def test_lines_of_a_zone_file(text, rtype, ttl):
    one = parsed(text, query("a.example"))
    assert (one.rtype, one.ttl) == (rtype, ttl)


@pytest.mark.parametrize(
    "text", ["", "a.example.", "a.example. 60 IN A x", "a..example. A 192.0.2.1", "a.example. BOGUS 1", "a.example. 5000w A 192.0.2.1"]
)
def test_what_is_no_line_of_a_zone_file(text):
    with pytest.raises(TemplateError, match="is not a record"):
        parsed(text, query("a.example"))


def test_the_short_cut_is_borne_for_other_zones():
    plain = Plain(wire("cluster.local"), 5, 5, ".")
    assert Template(options(TemplateOptions, "template IN A example.org"), around()).plain(plain) is plain
    assert Template(options(TemplateOptions, "template IN A ."), around()).plain(plain) is None


async def test_obs_01_clients_make_no_series_by_types_and_classes_that_nobody_knows():
    surroundings = around()
    respond, _ = linked(Template(options(TemplateOptions, "template ANY ANY example {", "rcode NXDOMAIN", "}"), surroundings))
    for number in range(1000, 1100):
        await respond(query("x.example", number, qclass=number))
    await respond(query("x.example", MX))
    told = {one.labels[3:5] for one in surroundings.tally.dump() if one.metric == "coredns_template_matches_total"}
    assert told == {("other", "other"), ("IN", "MX")}


async def test_obs_01_clients_cannot_make_metrics():
    """Types and classes that nobody knows are counted together, however many of them are asked."""
    surroundings = around()
    respond, _ = linked(Template(options(TemplateOptions, "template ANY ANY . {", "rcode NOERROR", "}"), surroundings))
    for number in range(1000, 1300):
        await respond(query("a.example", number, qclass=number))
    await respond(query("a.example", A))
    seen = {one.labels[3:5]: one.values[0] for one in surroundings.tally.dump() if one.metric == "coredns_template_matches_total"}
    assert seen == {("other", "other"): 300, ("IN", "A"): 1}
