"""Which split of a data set is read, by the names of its archives and folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from s2mlp_cli.data.names import kind_of, split_of, split_word, words
from s2mlp_cli.errors import DataError

# As --split: names say nothing of splits.
NO_SPLIT = "none"

# Of one folder that is not read, no more than this is counted.
_COUNTED = 100_000

# So many names are listed in an error.
_LISTED = 8


@dataclass
class Reading:
    """Chooses among splits, and keeps the notes on whatever is not read.

    Attributes:
        path: the path to the data. A split is chosen by it if a file or pattern has its word, or
            if one of the last two folders is called exactly so.
        split: what ``--split`` names, if anything.
    """

    path: Path
    split: str | None = None
    _not_read: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    _remarks: list[str] = field(default_factory=list)
    _is_matched: bool = False

    def choose(
        self, place: Path, entries: Collection[str], classes: Collection[str] = ()
    ) -> list[str] | None:
        """Return which of the files and folders at a place are read; None for all of them.

        Args:
            place: where they are.
            entries: their names.
            classes: those that may be class folders: they contain images, and nothing else.

        Raises:
            DataError: names cannot tell which to read, or the training images are all there is.
        """
        if self.split == NO_SPLIT:
            return None
        splits = {name: split for name in entries if (split := split_of(name)) is not None}
        if self.split is not None and not self._is_matched:
            return self._asked_for(place, entries, splits)
        if not splits:
            return None
        is_alone = len(set(splits.values())) == 1
        if is_alone and len(splits) < len(entries) and splits.keys() <= set(classes):
            self.remark(
                f"{listed(list(splits))} is read like what is beside it; if it is a split, choose "
                "it with --split"
            )
            return None
        return self._preferred(place, entries, splits)

    def _asked_for(
        self, place: Path, entries: Collection[str], splits: Mapping[str, str]
    ) -> list[str] | None:
        """Return what ``--split`` names: a whole name, a word of it, or one that means the same."""
        asked = (self.split or "").lower()
        whole = [name for name in entries if asked in (name.lower(), name.lower().split(".")[0])]
        by_word = [name for name in entries if asked in words(name)]
        same = [name for name, split in splits.items() if split == split_of(asked)]
        if whole or by_word or same:
            self._is_matched = True
            return whole or by_word or _of_one_word(place, same)
        if splits and len(entries) > 1:
            raise DataError(
                f"{place} has no split '{self.split}', but {listed(list(entries))}; choose one of "
                "them with --split"
            )
        return None

    def _preferred(
        self, place: Path, entries: Collection[str], splits: Mapping[str, str]
    ) -> list[str]:
        """Return the validation split; test only if nothing else is there, train only if chosen."""
        # what --split or the path names, or what was chosen on the way
        below = place.parts[len(self.path.parts) :]
        named = self._named_by_path() | {split_of(part) for part in (*below, self.split or "")}
        known = set(splits.values())
        if "validation" in known:
            chosen = "validation"
        elif "train" in known and "train" in named:
            chosen = "train"
        elif "test" in known and (len(splits) == len(entries) or "test" in named):
            chosen = "test"
        else:
            word = split_word(next(iter(splits)))
            raise DataError(
                f"{place} has {listed(list(entries))}, but no validation images; choose what to "
                f"read with --split, such as --split {word}, or --split none if they are not splits"
            )
        if chosen == "test" and "test" not in named:
            self.remark("the test images are read, since there are no validation images")
        return _of_one_word(place, [name for name, split in splits.items() if split == chosen])

    def _named_by_path(self) -> set[str | None]:
        whole = {split_of(part) for part in self.path.parts[-2:] if words(part) == [part.lower()]}
        return whole if self.path.is_dir() else whole | {split_of(self.path.name)}

    def check(self) -> None:
        """Check that ``--split`` has chosen something.

        Raises:
            DataError: nothing of that name was found.
        """
        if self.split is None or self.split == NO_SPLIT or self._is_matched:
            return
        is_called_so = self.split.lower() in map(str.lower, self.path.parts[-2:])
        if not is_called_so and split_of(self.split) not in self._named_by_path() - {None}:
            raise DataError(
                f"there is no split '{self.split}' at {self.path}; leave out --split, or give the "
                "path of what it names"
            )

    def remark(self, sentence: str) -> None:
        """Keep a note."""
        self._remarks += [sentence] * (sentence not in self._remarks)

    def pass_over(self, names: Iterable[str], why: str, noun: str = "") -> None:
        """Note the names of what is not read."""
        for name in islice(names, _COUNTED):
            kind = noun or ("archive" if kind_of(name) == "archive" else "image")
            self._not_read[kind, why].append(name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided and what is not read, in sentences."""
        unread = []
        for (noun, why), names in self._not_read.items():
            number = f"{'at least ' * (len(names) >= _COUNTED)}{len(names):,}"
            what = f"{noun}{'s' * (len(names) != 1)} {why}"
            unread.append(f"not read: {number} {what}; the first is {names[0]}")
        return (*self._remarks, *unread)


def _of_one_word(place: Path, names: list[str]) -> list[str]:
    """Check that names of one meaning have one word: ``val`` and ``dev`` are two sets."""
    if len({split_word(name) for name in names}) > 1:
        raise DataError(
            f"{place} has more than one set to validate on: {listed(names)}; choose one with "
            "--split"
        )
    return names


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f"'{name}'" for name in names[:_LISTED]) + more
