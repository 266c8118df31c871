"""YAML text to plain data, with the file and line of every key. Strict where YAML is lax.

A spec is refused when it is not text, is empty or huge, has a syntax error, a duplicate key, an
alias (``extends`` is for sharing; aliases can also blow a small file up without bound), an
explicit tag or more nesting than any spec needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from s2mlp_cli.errors import SpecError

MAX_BYTES = 65_536
MAX_DEPTH = 10

# Keys and list indices from the top of a document down to one value.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a file with its line, or an option of the command line.

    ``layer`` orders them: 0 for the file that was named, -1 for its base, 1 for an option.
    """

    file: str
    line: int | None = None
    layer: int = 0

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass
class Document:
    """Plain data and the origin of each key in it; the key ``()`` is the document itself."""

    data: dict[str, Any]
    origins: dict[KeyPath, Origin] = field(default_factory=dict)

    def origin(self, key: KeyPath) -> Origin:
        """Return the origin of ``key``, or of the nearest mapping around it."""
        while key and key not in self.origins:
            key = key[:-1]
        return self.origins[key]

    def forget_origins(self, key: KeyPath) -> None:
        """Forget where the value at ``key``, and all inside it, was written."""
        for known in [known for known in self.origins if known[: len(key)] == key]:
            del self.origins[known]


# From a line, counted from 1, to the origin of what is written there.
At = Callable[[int | None], Origin]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's numbers: 1e-5 is one, 0100 and 1:30 are not.

    It notes the origin of each key, and looks for aliases, tags and depth before it goes on, so
    that nothing built can blow up.
    """

    def __init__(self, text: str, at: At) -> None:
        super().__init__(text)
        self.at = at
        self.origins: dict[KeyPath, Origin] = {}
        self.levels = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        origin = self.at(event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            raise SpecError(
                f"{origin}: found the alias '*{event.anchor}'; allowed: no aliases, share by "
                "'extends' instead"
            )
        if event.tag is not None:
            raise SpecError(f"{origin}: found the tag '{event.tag}'; allowed: no tags")
        inside = isinstance(event, yaml.CollectionStartEvent)
        self.levels += inside
        if self.levels > MAX_DEPTH:
            raise SpecError(
                f"{origin}: found more than {MAX_DEPTH} levels of nesting; a spec needs four"
            )
        node = super().compose_node(parent, index)
        self.levels -= inside
        return node

    def built(self, node: yaml.Node, key: KeyPath = ()) -> Any:
        """Return a node as plain data."""
        origin = self.origins[key] = self.at(node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.built(item, (*key, index)) for index, item in enumerate(node.value)]
        try:
            return self.construct_object(node)
        except ValueError as error:  # a date or a number that YAML recognises but cannot hold
            raise SpecError(
                f"{origin}: {dotted(key)}: found '{str(node.value)[:40]}'; "
                "allowed: text, a number, true or false"
            ) from error

    def _mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name, origin = name_node.value, self.at(name_node.start_mark.line + 1)
            if not isinstance(name, str):
                raise SpecError(f"{origin}: found a key that is not a word")
            inner: KeyPath = (*key, name)
            if name in mapping:
                raise SpecError(f"{origin}: {dotted(inner)}: found twice; allowed: each key once")
            mapping[name] = self.built(value_node, inner)
            self.origins[inner] = origin
        return mapping


_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$"
        r"|[-+]?\.inf$|\.nan$"
    ),
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, list("-+.0123456789"))


def read_document(path: Path, named_at: Origin | None = None, layer: int = 0) -> Document:
    """Read one YAML file whose top level is a mapping.

    Args:
        path: the file.
        named_at: where another file names it as its base.
        layer: of its keys' origins.

    Raises:
        SpecError: the file is missing, unreadable, not text, empty, or not strict YAML.
    """
    where = f"{named_at}: extends: " if named_at else ""
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise SpecError(f"{where}'{path}' cannot be read: {reason}; check the path") from error
    if len(raw) > MAX_BYTES:
        raise SpecError(
            f"{where}{path}: found {len(raw):,} bytes; allowed: a YAML spec of at most "
            f"{MAX_BYTES:,} bytes"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{where}{path}: found bytes that are not UTF-8 text; allowed: a YAML spec"
        ) from error
    data, origins = _parse(text, lambda line: Origin(str(path), line, layer))
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {_kind(data)}"
        raise SpecError(
            f"{where}{path}: found {found}; allowed: a mapping of keys, such as 'extends: v2-small'"
        )
    return Document(data, origins)


def parse_value(text: str, source: str) -> Any:
    """Read the value of a ``--set key=value`` option, as YAML."""
    return _parse(text, lambda line: Origin(source))[0]


def _parse(text: str, at: At) -> tuple[Any, dict[KeyPath, Origin]]:
    try:
        loader = _Loader(text, at)
        node = loader.get_single_node()
        return None if node is None else loader.built(node), loader.origins
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark
        line = int(mark.line) + 1 if mark else 1
        raise SpecError(f"{at(line)}: not valid YAML: {error.problem}; mend the syntax") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Beside its own, PyYAML raises what int() and chr() make of "%YAML 99…" and "\\Uffffffff".
        problem = " ".join(str(error).split())
        raise SpecError(f"{at(None)}: not valid YAML: {problem}; allowed: a text file") from error


def dotted(key: KeyPath) -> str:
    """Return a key as people write it: ``stages.0.depth``."""
    return ".".join(str(part) for part in key)


def _kind(value: object) -> str:
    return {list: "list", str: "text", int: "number", float: "number"}.get(
        type(value), type(value).__name__
    )
