"""Corefiles on disk: imports beside the file, and files that cannot be read."""

from pointsman.dns.corefile.files import Reader, imports, read
from pointsman.dns.corefile.options import ForwardOptions, WhoamiOptions


def test_cor_05_imports_are_relative_to_the_importing_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "Corefile").write_text(".:53 {\n import sub/one\n}\nimport sub/*.server\n")
    (tmp_path / "sub" / "one").write_text("import two\n")
    (tmp_path / "sub" / "two").write_text("whoami\n")
    (tmp_path / "sub" / "b.server").write_text("b.org {\n forward . {$UP}\n}\n")
    (tmp_path / "sub" / "a.server").write_text("a.org {\n whoami\n}\n")
    made = read(str(tmp_path / "Corefile"), {"UP": "192.0.2.9"}).must()
    assert [block.keys[0].zone for block in made.blocks] == [".", "a.org.", "b.org."]
    assert made.blocks[0].one(WhoamiOptions)
    assert made.one(ForwardOptions).upstreams[0].address == "192.0.2.9"


def test_an_error_names_the_imported_file(tmp_path):
    (tmp_path / "Corefile").write_text(".:53 {\n import part\n}\n")
    (tmp_path / "part").write_text("whoami\nfrob\n")
    (one,) = read(str(tmp_path / "Corefile"), {}).findings
    assert (one.place.file, one.place.line) == (str(tmp_path / "part"), 2)


def test_what_cannot_be_read_is_a_finding(tmp_path):
    (gone,) = read(str(tmp_path / "nothing")).findings
    assert "No such file" in gone.text
    (tmp_path / "bytes").write_bytes(b".:53 {\n\xff\xfe\n}")
    (odd,) = read(str(tmp_path / "bytes")).findings
    assert "not UTF-8" in odd.text
    (folder,) = read(str(tmp_path)).findings
    assert "directory" in folder.text.lower()


def test_cor_05_patterns_have_one_wildcard(tmp_path):
    importer = str(tmp_path / "Corefile")
    assert imports("*.server", importer) == ()
    assert "one wildcard" in imports("*/*.server", importer)
    assert "not found" in imports("gone", importer)
    assert "directory" in imports(".", importer).lower()


def test_obs_50_what_has_not_changed_is_not_parsed_again(tmp_path):
    (tmp_path / "Corefile").write_text("import *.server\n. {\n  import part\n}\n")
    (tmp_path / "part").write_text("whoami\n")
    reader = Reader(str(tmp_path / "Corefile"))
    first = reader.read()
    reader.read()  # now it is known what is imported
    known = reader.read()
    assert known.fingerprint == first.fingerprint
    assert reader.read() is known
    for name, text in (("part", "errors\n"), ("one.server", "a.test {\n  whoami\n}\n"), ("Corefile", ". {\n  log\n}\n")):
        (tmp_path / name).write_text(text)
        changed = reader.read()
        assert changed.fingerprint != known.fingerprint
        reader.read()
        known = reader.read()
        assert known.fingerprint == changed.fingerprint
        assert reader.read() is known
    (tmp_path / "Corefile").unlink()
    assert reader.read().corefile is None
    assert reader.read() is reader.read()
