"""The processes of one validation: this one alone, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from s2mlp_cli.cores import usable_cores
from s2mlp_cli.errors import S2MLPError


@dataclass(frozen=True)
class Processes:
    """This process among all: its rank and their count, also of those on the same machine.

    The first, of rank 0, is the one that reports.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def cores(self) -> int:
        """This process's share of the cores."""
        return max(usable_cores().count // self.local_count, 1)

    @property
    def workers(self) -> int:
        """How many processes decode images for this one."""
        return min(self.cores, 16)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in order, on the first; an empty list elsewhere."""
        if self.count == 1:
            return [value]
        values: list[Any] | None = [None] * self.count if self.rank == 0 else None
        dist.gather_object(value, values)
        return values or []

    @contextmanager
    def errors_shown_once(self) -> Iterator[None]:
        """End all processes if the block fails in one; only the first with a sentence shows it.

        Each waits for the others at the end of the block.

        Raises:
            S2MLPError: in the first process that fails with this sentence.
            SystemExit: in the others, once a process that shows its sentence has ended.
        """
        failure: S2MLPError | None = None
        try:
            yield
        except S2MLPError as error:
            failure = error
        sentence = None if failure is None else str(failure)
        sentences: list[str | None] = [sentence]
        if self.count > 1:
            sentences = [None] * self.count
            dist.all_gather_object(sentences, sentence)
        if failure is not None and sentences.index(sentence) == self.rank:
            raise failure
        if any(sentences):
            with suppress(RuntimeError):  # the connection breaks when one that shows it ends
                dist.barrier()
            raise SystemExit(1)


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the processes that torchrun started; without torchrun there is one.

    Images are divided, the model is not: only the rows of the table are sent, at the end, over
    gloo, on GPUs as well.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    dist.init_process_group("gloo")
    try:
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        local_count = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        yield Processes(dist.get_rank(), count, local_rank, local_count)
    finally:
        dist.destroy_process_group()
