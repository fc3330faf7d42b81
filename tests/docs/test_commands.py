"""Commands that documents show are run: here those that need only a checkout, in tests/cluster those that need a cluster."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.shown import Block, blocks

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for folder in (ROOT, ROOT / "docs", ROOT / "charts/pointsman") for path in sorted(folder.glob("*.md"))]
SHOWN = [(path.relative_to(ROOT), block) for path in DOCUMENTS for block in blocks(path.read_text())]
SAMPLE = """
```sh run=here
one
```
1. a list

   ```sh run=no reason="it burns"
   two \\
     more
   ```
```yaml
no: commands
```
```console
three
```
"""


def test_every_block_of_commands_says_who_runs_it():
    offences = [f"{path}:{block.line}" for path, block in SHOWN
                if block.run not in {"here", "cluster", "no"} or (block.run == "no") != bool(block.reason)]
    assert offences == [], 'begin it with ```sh run=here, ```sh run=cluster, or ```sh run=no reason="..."'


def test_commands_stand_in_blocks_that_say_it():
    """CONTRIBUTING.md lists what there is to call, in a table of its own."""
    bare = re.compile(r"^ {4}(?:sudo )?(?:make|pointsman|kube-proxy|helm|kubectl|docker|tools/)\b")
    offences = [f"{path.relative_to(ROOT)}:{number}" for path in DOCUMENTS if path.name != "CONTRIBUTING.md"
                for number, line in enumerate(path.read_text().splitlines(), 1) if bare.match(line)]
    assert offences == [], "put it into a block that begins with ```sh run=..."


def test_blocks_of_a_cluster_are_where_its_test_looks():
    """tests/cluster/test_documents.py runs these documents."""
    there = (ROOT / "tests/cluster/test_documents.py").read_text()
    assert {str(path) for path, block in SHOWN if block.run == "cluster"} == set(re.findall(r'"(docs/\w+\.md)"', there))


@pytest.mark.parametrize(("path", "block"), [each for each in SHOWN if each[1].run == "here"], ids=lambda one: str(one)[:40])
def test_commands_work_in_a_checkout(path, block):
    programs = str(Path(sys.executable).parent)
    ended = subprocess.run(
        ["bash", "-eu", "-c", block.script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONSAFEPATH": "1"},
    )
    assert ended.returncode == 0, f"{path}:{block.line}:\n{ended.stdout}{ended.stderr}"
    assert ended.stdout, f"{path}:{block.line} says nothing"


def test_blocks_are_read_with_their_marks_and_without_their_indentation():
    assert blocks(SAMPLE) == [
        Block(2, "here", "", "one\n"),
        Block(7, "no", "it burns", "two \\\n  more\n"),
        Block(14, "", "", "three\n"),
    ]
