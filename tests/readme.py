"""The console blocks of README.md: found, run and, with ``python -m tests.readme``, renewed.

A block marked ``<!-- varies -->`` shows measured numbers: it is run, but not compared. One marked
``<!-- your data -->`` is run on small images that stand where the README says ``/data``. Of one
marked ``<!-- not run -->``, which takes minutes or the network, the options are checked.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from s2mlp_cli.cli import group

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"(?:<!-- (?P<mark>[a-z ]+) -->\n)?```console\n(?P<body>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One ``$`` line of a console block, and what stands below it."""

    command: str
    output: str
    mark: str | None


def examples(text: str) -> list[Example]:
    """Return the examples of a README in their order."""
    return [
        Example(*part.partition("\n")[::2], block["mark"])
        for block in BLOCK.finditer(text)
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]
    ]


def run(example: Example, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an example in ``folder`` as a user with a plain terminal of 80 columns would."""
    command = re.sub(
        r"^((?:\w+=\S+ )*)s2mlp ", rf"\1{sys.executable} -m s2mlp_cli ", example.command
    )
    return subprocess.run(
        command.replace("torchrun", f"{sys.executable} -m torch.distributed.run").replace(
            "/data/", f"{folder}/data/"
        ),
        shell=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def check_options(line: str) -> None:
    """Raise click's error at an option of a ``s2mlp`` line that does not exist; run nothing."""
    program, name, *rest = shlex.split(re.sub(r"\s*(>|\||&&).*", "", line))
    assert program == "s2mlp", line
    command = group.get_command(group.make_context("s2mlp", [], resilient_parsing=True), name)
    assert command is not None
    command.make_parser(command.make_context(name, [], resilient_parsing=True)).parse_args(rest)


def tidy(text: str) -> str:
    """Return ``text`` without blanks at the ends of its lines, and without empty first and last."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()).strip("\n")


def renew() -> None:
    """Write what every example prints today into the README."""
    text = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for example in examples(text):
            if example.mark in ("not run", "your data"):
                continue
            done = run(example, Path(folder))
            if done.returncode:
                sys.exit(f"{example.command}: {done.stderr}")
            if not example.output.strip():
                continue
            old = f"$ {example.command}\n{example.output}"
            text = text.replace(old, f"$ {example.command}\n{tidy(done.stdout)}\n", 1)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    renew()
