"""`formatting: vistadpo` of dataset_info.json: our rows in the host's standard columns.

In a `stage: vistadpo` run a row passes through as text and our dataset processor parses it, so that a bad row can be
reported with its place, or skipped. In any other stage (plain `stage: dpo` on the same rows) it becomes an ordinary
preference row with one video.
"""

from __future__ import annotations

import json
from typing import Any

from llamafactory.data.converter import DatasetConverter

from vistadpo_plugin.data.rows.grounding import find_video
from vistadpo_plugin.data.rows.reader import TEXT, WHERE
from vistadpo_plugin.data.rows.schema import parse_row

VISTA_COLUMN = "_vista"
"""JSON of {"where", "row"}: the row as its author wrote it, and the place it came from."""


class VistaDatasetConverter(DatasetConverter):
    """Convert one row of a `formatting: vistadpo` data set."""

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        if TEXT in example:
            where, row = example[WHERE], example[TEXT]
        else:  # a typed file or a hub data set: columns instead of text
            where, row = f"{self.dataset_attr.dataset_name} (id {example.get('id')})", json.dumps(example)
        columns = dict.fromkeys(("_prompt", "_response", "_system", "_tools", "_images", "_videos", "_audios"))
        if getattr(self.data_args, "use_vistadpo", False):
            return {**columns, VISTA_COLUMN: json.dumps({"where": where, "row": row})}

        parsed = parse_row(row, where)
        video = find_video(parsed.video, self.data_args.media_dir, parsed.where)
        return {
            **columns,
            "_prompt": [{"role": "user", "content": parsed.prompt}],
            "_response": [{"role": "assistant", "content": text} for text in (parsed.chosen, parsed.rejected)],
            "_system": "",
            "_tools": "",
            "_videos": [video if isinstance(video, str) else list(video)],
        }
