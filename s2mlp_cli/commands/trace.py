"""``s2mlp trace``: what `profile --trace` recorded, in the terminal or in TensorBoard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.output import emit, made_here
from s2mlp_cli.views.terminal import remarks_console

NEEDS_NETWORK = (
    "Its PyTorch profiler page loads a charts library from the network and stays blank offline; "
    "the tables above work offline."
)


@click.command(
    short_help="Read the traces of `profile --trace`.",
    epilog="""
    \b
    Examples:
      s2mlp profile --shift conv --trace traces
      s2mlp trace traces
      s2mlp trace traces --open
    """,
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--open", "open_page", is_flag=True, help="Start TensorBoard and print its address.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=6006,
    show_default=True,
    help="Port of TensorBoard.",
)
@options.output
def command(
    folder: Path, open_page: bool, port: int, output_format: str, output: Path | None
) -> None:
    """Show where the time and memory of traced runs go, and what fraction the shift takes.

    The tables list scopes, operators, kernels and modules, in milliseconds per run. The traces also
    open in Perfetto (https://ui.perfetto.dev) and in TensorBoard: `tensorboard --logdir FOLDER`.
    """
    from s2mlp_cli.measure.tracing.reading import find_traces, read_trace
    from s2mlp_cli.records.trace import TraceRecord

    record = made_here(
        TraceRecord,
        results=tuple(read_trace(path, folder) for path in find_traces(folder)),
    )
    emit(record, output_format, output)
    if open_page:
        _serve(folder, port)


def _serve(folder: Path, port: int) -> None:
    """Run TensorBoard on ``folder`` until Ctrl-C."""
    words = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port)]
    console = remarks_console()
    console.print(f"http://localhost:{port}/#pytorch_profiler (Ctrl-C ends it)", style="answer")
    console.print(NEEDS_NETWORK, style="warn")
    with subprocess.Popen(words) as server:
        try:
            server.wait()
        finally:
            server.terminate()
