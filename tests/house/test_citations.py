"""Numbers that code and tests cite can be looked up: SEM-04 in docs/services.md, NLD-42 in docs/dns.md, pain 37 in docs/pains.md."""

import re

AREAS = "IN|SEL|SEM|IPT|IPVS|NFT|CFG|PROC|HLT|MET|CT|DEP|REC|TRAP|VER|KR|POD|PTR|EXT|AXF|WIR|COR|FWD|CAC|LOP|OBS|NLD|SRC"
CITED = re.compile(rf"(?<![\w-])(?:{AREAS})-\d{{2,3}}(?!\d)")
PAIN = re.compile(r"\bpains? (\d+)\b", re.IGNORECASE)


def numbers(text):
    """Return the numbers that a document explains; `SEM-60 to SEM-68` explains all of them."""
    found = set(re.findall(rf"^\| ((?:{AREAS})-\d{{2,3}}) \|", text, re.MULTILINE))
    for area, first, last in re.findall(rf"^\| ({AREAS})-(\d\d) to (?:{AREAS})-(\d\d) \|", text, re.MULTILINE):
        found |= {f"{area}-{number:02d}" for number in range(int(first), int(last) + 1)}
    return found


def citing(written, root):
    for path in written:
        if path.suffix == ".py":
            for number, line in enumerate(path.read_text().splitlines(), 1):
                yield f"{path.relative_to(root)}:{number}", line


def test_every_cited_number_is_explained(written, root, judge):
    known = numbers("\n".join((root / "docs" / name).read_text() for name in ("services.md", "dns.md")))
    cited = ((place, one) for place, line in citing(written, root) for one in CITED.findall(line))
    unknown = [f"{place}: {one}" for place, one in cited if one not in known]
    judge(unknown, "explain the number in docs/services.md or docs/dns.md, or cite the right one")


def test_every_cited_pain_is_retold(written, root, judge):
    known = set(re.findall(r"^\| (\d+) \|", (root / "docs" / "pains.md").read_text(), re.MULTILINE))
    cited = ((place, one) for place, line in citing(written, root) for one in PAIN.findall(line))
    judge([f"{place}: pain {one}" for place, one in cited if one not in known], "retell it in docs/pains.md")


def test_every_link_in_the_documents_leads_somewhere(written, root, judge):
    documents = [path for path in written if path.suffix == ".md"]
    links = ((path, target) for path in documents for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text()))
    judge([f"{path.relative_to(root)}: {target}" for path, target in links if not (path.parent / target).exists()], "mend the link")


def test_the_reading_of_documents_sees_ranges():
    assert numbers("| SEM-60 to SEM-62 | x |\n| IN-01 | y |") == {"SEM-60", "SEM-61", "SEM-62", "IN-01"}
