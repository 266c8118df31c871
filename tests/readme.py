"""The console blocks of README.md and docs/: found, run and, by ``python -m tests.readme``, renewed.

A block marked ``<!-- varies -->`` shows measured numbers: it is run, but not compared. One marked
``<!-- your data -->`` is run on small images in place of ``/data``. Of one marked ``<!-- not run -->``,
which takes minutes, an optional package or the network, the options are checked. ``<!-- exit 1 -->``
is a line that fails so, and its errors are shown. Where the last line is ``…``, the page shows the
beginning of the output. A Python block after ``<!-- name.py -->`` is a file
that the lines may use.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from s2mlp_cli.cli import group
from s2mlp_cli.sample import CHECKPOINT, IMAGES
from tests.command_line import s2mlp

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"(?:<!-- (?P<mark>[a-z0-9 ]+) -->\n)?```console\n(?P<body>.*?)```", re.DOTALL)
FILE = re.compile(r"<!-- (?P<name>\w+\.py) -->\n```python\n(?P<body>.*?)```", re.DOTALL)
CODE = re.compile(r"(?<! -->\n)```python\n(?P<body>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One ``$`` line of a console block, and what stands below it."""

    command: str
    output: str
    mark: str | None

    @property
    def exit_code(self):
        """What the line should end with."""
        return int((self.mark or "").removeprefix("exit ")) if "exit" in (self.mark or "") else 0

    def shown(self, done):
        """Return what the page shows of a run: its output, or its beginning, or its error."""
        text = tidy(done.stdout or done.stderr)
        lines = tidy(self.output).splitlines()
        if lines[-1:] != ["…"]:
            return text
        return "\n".join([*text.splitlines()[: len(lines) - 1], "…"])


def examples(text):
    """Return the examples of a page in their order."""
    return [
        Example(*part.partition("\n")[::2], block["mark"])
        for block in BLOCK.finditer(text)
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]
    ]


def prepare(folder):
    """Give ``folder`` what a reader has: the pages' files, a checkpoint ``path``, two forms of data."""
    for page in PAGES:
        for block in FILE.finditer(page.read_text(encoding="utf-8")):
            (folder / block["name"]).write_text(block["body"], encoding="utf-8")
    shutil.copy(CHECKPOINT, folder / "path")
    (folder / "reports").symlink_to(ROOT / "reports")
    with tarfile.open(IMAGES) as archive:
        archive.extractall(folder / "data" / "imagenet" / "val", filter="data")
    images = sorted((folder / "data" / "imagenet" / "val").rglob("*.png"))
    with tarfile.open(folder / "data" / "ILSVRC2012_img_val.tar", "w") as archive:
        for image in images:
            archive.add(image, image.name)
    rows = [f"{image.name},{image.parent.name}" for image in images]
    (folder / "data" / "labels.csv").write_text("\n".join(["file,label", *rows]))


def run(example, folder):
    """Run an example in ``folder`` as a user with a plain terminal of 80 columns would.

    A command by itself runs in this process.
    """
    command = example.command.replace("/data/", f"{folder}/data/")
    variables = {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1"}
    if re.fullmatch(r"s2mlp [^|>&;$]*", command):
        return s2mlp(*shlex.split(command)[1:], cwd=folder, **variables)
    command = re.sub(r"^((?:\w+=\S+ )*)s2mlp ", rf"\1{sys.executable} -m s2mlp_cli ", command)
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def check_options(line):
    """Raise click's error at an option of a ``s2mlp`` line that does not exist; run nothing."""
    line = re.sub(r"^(\w+=\S+ )+", "", line)
    line = re.sub(r"^torchrun .* -m s2mlp_cli ", "s2mlp ", line)
    program, name, *rest = shlex.split(re.sub(r"\s*(>|\||&&|#).*", "", line))
    assert program == "s2mlp", line
    command = group.get_command(group.make_context("s2mlp", [], resilient_parsing=True), name)
    assert command is not None
    command.make_parser(command.make_context(name, [], resilient_parsing=True)).parse_args(rest)


def tidy(text):
    """Return ``text`` without blanks at the ends of its lines, and without empty first and last."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()).strip("\n")


def renew():
    """Write what every example prints today into its page."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for page in PAGES:
            page.write_text(renewed(page.read_text(encoding="utf-8"), Path(folder)), "utf-8")


def renewed(text, folder):
    """Return a page's text with what its examples print today."""
    for example in examples(text):
        if example.mark in ("not run", "your data"):
            continue
        done = run(example, folder)
        if done.returncode != example.exit_code:
            sys.exit(f"{example.command}: {done.stderr}")
        if example.output.strip():
            old = f"$ {example.command}\n{example.output}"
            text = text.replace(old, f"$ {example.command}\n{example.shown(done)}\n", 1)
    return text


if __name__ == "__main__":
    renew()
