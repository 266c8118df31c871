"""Options under headings: what a command with thirty of them needs in its --help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

# heading -> its options, as click's decorators.
Sections = Mapping[str, Sequence[Callable[[Any], Any]]]


class SectionedCommand(click.Command):
    """A command whose --help lists its options section by section."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.sections: dict[str, list[click.Parameter]] = {}

    def add(self, sections: Sections) -> None:
        """Add options, in their order."""
        for heading, options in sections.items():
            first = len(self.params)
            for option in options:
                option(self)
            self.sections[heading] = self.params[first:]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of options under each heading; what click adds itself comes last."""
        listed = {id(each) for part in self.sections.values() for each in part}
        rest = [each for each in self.get_params(ctx) if id(each) not in listed]
        for heading, part in {**self.sections, "Help": rest}.items():
            with formatter.section(heading):
                formatter.write_dl([row for each in part if (row := each.get_help_record(ctx))])


def sectioned(sections: Sections) -> Callable[[SectionedCommand], SectionedCommand]:
    """Give a command its options; stands above ``@click.command(cls=SectionedCommand)``."""

    def decorate(command: SectionedCommand) -> SectionedCommand:
        command.add(sections)
        return command

    return decorate
