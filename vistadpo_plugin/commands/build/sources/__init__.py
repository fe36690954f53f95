"""The sources that `vistadpo build` offers, by name, in order of the help: `SOURCE` of each module.

In: options of the command line. Out: questions, by the readers of `datasets.sources`. May import datasets.
"""

from __future__ import annotations

from vistadpo_plugin.commands.build.source import BuildSource
from vistadpo_plugin.commands.build.sources import intervals, nextgqa, star, tvqa_plus, vidstg

SOURCES: dict[str, BuildSource] = {
    "nextgqa": nextgqa.SOURCE,
    "star": star.SOURCE,
    "tvqa-plus": tvqa_plus.SOURCE,
    "intervals": intervals.SOURCE,
    "vidstg": vidstg.SOURCE,
}
