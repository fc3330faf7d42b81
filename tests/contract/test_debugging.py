"""docs/debugging.md shows what the commands print: each part is produced anew and compared.

POINTSMAN_REGENERATE=1 writes the document instead; parts of the ipvs mode where there is IPVS.
"""

import os
from pathlib import Path

import pytest
from debugging import SHOWN, blocks, fenced, produce, replaced, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "debugging.md"
REGENERATE = bool(os.environ.get("POINTSMAN_REGENERATE"))


def check(made):
    text = DOCUMENT.read_text()
    if REGENERATE:
        DOCUMENT.write_text(replaced(text, made))
    assert made.keys() <= blocks(text).keys()
    shown = blocks(DOCUMENT.read_text())
    assert {name: shown[name] for name in made} == made


@pytest.fixture(autouse=True)
def _lock(monkeypatch, tmp_path):
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))


@pytest.mark.kernel
def test_transcripts_are_what_is_printed():
    check({name: fenced(produce(name)) for name, (mode, *_) in SHOWN.items() if mode != "ipvs"})


@pytest.mark.kernel
def test_the_table_of_faults_is_what_is_printed():
    check({"faults-iptables": table("iptables")})


@pytest.mark.kernel
@pytest.mark.ipvs
def test_transcripts_of_the_ipvs_mode_are_what_is_printed():
    check({"missing-server": fenced(produce("missing-server")), "faults-ipvs": table("ipvs")})


def test_every_part_of_the_document_is_produced():
    assert blocks(DOCUMENT.read_text()).keys() == SHOWN.keys() | {"faults-iptables", "faults-ipvs"}


def test_ten_symptoms_each_solved_by_at_most_two_commands():
    symptoms = DOCUMENT.read_text().split("\n### ")[1:]
    assert len(symptoms) >= 10
    assert all(1 <= symptom.count("$ pointsman ") <= 2 for symptom in symptoms)
