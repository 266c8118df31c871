"""What a stranger meets in the first hour: odd paths, odd terminals, pipes, and the TAB key."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from s2mlp_cli import sample
from s2mlp_cli.records.reading import KINDS
from tests import samples
from tests.fuzz.law import hold

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder with an executable ``s2mlp``, as pip would write it."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "s2mlp"
    script.write_text(
        f"#!{sys.executable}\n"
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from s2mlp_cli.__main__ import program; program()\n"
    )
    script.chmod(0o755)
    return folder


def shell(installed, line, cwd=ROOT, **variables):
    path = f"{installed}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=cwd,
        env={**os.environ, "PATH": path, **variables},
        timeout=120,
        check=False,
    )


# Completion --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(installed, name):
    done = shell(installed, f"_S2MLP_COMPLETE={name}_source s2mlp")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_S2MLP_COMPLETE={name}_complete" in done.stdout


COMPLETIONS = {
    "s2mlp co": ["count", "compare", "convert"],
    "s2mlp show v2-m": ["v2-medium"],
    "s2mlp count --model v1-w": ["v1-wide"],
    "s2mlp profile --model v1-dee": ["v1-deep"],
    "s2mlp validate --model vip-s": ["vip-small", "vip-small-14", "vip-small-16"],
    "s2mlp count --shift g": ["gather"],
    "s2mlp profile --shift conv,g": ["conv,gather"],
    "s2mlp profile --shift al": ["all"],
    "s2mlp validate --device c": ["cpu", "cuda"],
    "s2mlp count --form": ["--format"],
    "s2mlp count --format m": ["markdown"],
}  # fmt: skip


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_tab_completes_commands_models_shifts_and_devices(installed):
    """One bash asks for all of them, through click's own script."""
    asked = [
        f"COMPREPLY=(); COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}; _s2mlp_completion s2mlp; "
        'echo "${COMPREPLY[@]}"'
        for line in COMPLETIONS
    ]
    script = 'eval "$(_S2MLP_COMPLETE=bash_source s2mlp)"; ' + "; ".join(asked)
    done = shell(installed, script)
    assert done.stderr == ""
    offered = [sorted(line.split()) for line in done.stdout.splitlines()]
    assert offered == [sorted(words) for words in COMPLETIONS.values()]


def test_completing_imports_no_torch(installed):
    done = shell(
        installed,
        "python -X importtime $(command -v s2mlp)".replace("python", sys.executable),
        _S2MLP_COMPLETE="bash_complete",
        COMP_WORDS="s2mlp validate --model v",
        COMP_CWORD="3",
    )
    assert "plain,v1-wide" in done.stdout
    imported = set(re.findall(r"\|\s+(\w+)$", done.stderr, re.MULTILINE))
    assert "click" in imported
    assert not imported & {"torch", "timm", "numpy", "matplotlib"}


# Terminals ---------------------------------------------------------------------------------------

RECORDS = {kind: make() for kind, make in samples.ALL.items()}


def numbers(text):
    return set(re.findall(r"\d[\d.,]*\d|\d", text))


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_terminal_loses_no_number(kind, tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    path.write_text(RECORDS[kind].to_json())
    shown = {}
    for columns in ("40", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        shown[columns] = hold("report", path, names=()).stdout
    assert numbers(shown["300"]) <= numbers(shown["40"].replace("\n", " "))
    assert len(numbers(shown["300"])) > 5


def test_a_terminal_of_unknown_width_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    path.write_text(RECORDS["count"].to_json())
    shown = {}
    for columns in ("0", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        shown[columns] = hold("report", path, names=()).stdout
    assert shown["0"] == shown["80"]


@pytest.mark.parametrize(
    "line", ["s2mlp models", "s2mlp models v1-w", "s2mlp show v2-medium", "s2mlp --help"]
)
@pytest.mark.parametrize("reader", ["| head -1", "| true", "> /dev/full", ">&-"])
def test_a_stdout_that_takes_nothing_is_no_traceback(installed, line, reader):
    done = shell(installed, f"{line} {reader}")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_unicode_shows_everything(installed, encoding, tmp_path):
    for kind, record in RECORDS.items():
        (tmp_path / f"{kind}.json").write_text(record.to_json())
    files = " ".join(f"{kind}.json" for kind in RECORDS)
    line = f"s2mlp report {files} && s2mlp models"
    done = shell(installed, line, cwd=tmp_path, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "224" in done.stdout
    if encoding == "ascii":
        assert done.stdout.isascii()
        assert "224x224" in done.stdout


@pytest.mark.parametrize("home", [os.environ.get("HOME", "/"), "/proc/no/home"])
def test_light_commands_raise_no_warning(installed, tmp_path, home):
    (tmp_path / "count.json").write_text(samples.count().to_json())
    line = "s2mlp models && s2mlp show v2-medium && s2mlp report count.json -o page.html"
    done = shell(installed, line, cwd=tmp_path, PYTHONWARNINGS="error", HOME=home)
    assert (done.returncode, done.stderr) == (0, "")


# Places ------------------------------------------------------------------------------------------


def test_a_path_with_spaces_and_other_alphabets(tmp_path, monkeypatch):
    place = tmp_path / "Größe 大きさ [v2] {a} 100%"
    place.mkdir()
    monkeypatch.chdir(place)
    shutil.copy(sample.CHECKPOINT, "мой чекпойнт.safetensors")
    shutil.copy(sample.IMAGES, "val été.tar")
    shown = hold("show", "v2-small", names=()).stdout
    Path("mein modell.yaml").write_text(shown, encoding="utf-8")
    hold("show", "mein modell.yaml", "--set", "classes=3", names=())
    hold(
        "validate", "--ckpt", "мой чекпойнт.safetensors", "--data", "val été.tar", "--workers", "0",
        "--device", "cpu", "-o", "résultat à moi.json", names=(),
    )  # fmt: skip
    Path("la mesure.json").write_text(samples.profile().to_json())  # has pictures
    hold("report", "résultat à moi.json", "la mesure.json", "-o", "bericht ß.md", names=())
    hold("compare", "résultat à moi.json", "résultat à moi.json", names=())
    text = Path("bericht ß.md").read_text(encoding="utf-8")
    assert "val été.tar" in text
    links = re.findall(r"\]\((.*)\)$", text, re.MULTILINE)
    assert links
    for link in links:
        assert re.fullmatch(r"[!-~]+", link)  # Markdown ends a link at a blank
        assert Path(unquote(link)).is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_takes_no_file(tmp_path, monkeypatch):
    """Nothing can be written in /proc, not even by root."""
    record = tmp_path / "count.json"
    record.write_text(samples.count().to_json())
    monkeypatch.chdir("/proc/self")
    assert hold("models", names=()).exit_code == 0
    for form in ("html", "md", "txt"):
        done = hold("report", record, "-o", f"x.{form}", names=(f"x.{form}", "x-"))
        assert "cannot write" in done.stderr
        assert "choose another -o" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into a read-only folder")
def test_a_read_only_folder(tmp_path, monkeypatch):
    (tmp_path / "validate.json").write_text(samples.validate().to_json())
    tmp_path.chmod(0o555)
    monkeypatch.chdir(tmp_path)
    assert hold("report", "validate.json", names=()).exit_code == 0
    done = hold("report", "validate.json", "-o", "page.html", names=("page.html",))
    assert "Permission denied" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["validate.json"]
    tmp_path.chmod(0o755)
