"""The sources that `vistadpo build` offers, by name: `SOURCE` of the module of the same name, in order of the help.

In: options of the command line. Out: questions, by the readers of `datasets.sources`. May import datasets.
"""

from __future__ import annotations

from vistadpo_plugin.commands.build.source import BuildSource
from vistadpo_plugin.commands.build.sources import nextgqa, star

SOURCES: dict[str, BuildSource] = {
    "nextgqa": nextgqa.SOURCE,
    "star": star.SOURCE,
}
