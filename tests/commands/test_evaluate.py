"""`vistadpo evaluate` through the command: tiny model and adapter, interrupted and resumed; and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import FRAMES, Demo, run_recipe, tiny_recipe
from eventhallusion_made import ANSWERS, IDS, link_videos, write_recipe, write_replies

from vistadpo_plugin.commands.main import main

NAME = "eventhallusion"


def evaluate(*words: str | Path) -> int:
    return main(["evaluate", *map(str, words)])


@dataclass
class Evaluation:
    """A finished evaluation in `folder`; `changes` are its recipe's keys."""

    folder: Path
    changes: dict[str, Any]

    def recipe(self, folder: Path, **changes: Any) -> Path:
        """The same evaluation in another folder, on the same videos."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "media").symlink_to(self.folder / "media")
        return write_recipe(folder, **{**self.changes, **changes})

    def replies(self, model: str, folder: Path | None = None) -> dict[str, str]:
        path = (folder or self.folder) / "out" / NAME / model / "replies.jsonl"
        return {line["id"]: line["reply"] for line in map(json.loads, path.read_text().splitlines())}


@pytest.fixture(scope="module")
def finished(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Base and a trained adapter, asked without interruption."""
    folder = tmp_path_factory.mktemp("evaluation")
    training = {**tiny_recipe(demo, folder / "adapter"), "learning_rate": 0.05, "max_steps": 2}
    run_recipe(training)
    link_videos(folder / "media", sorted((demo.data / "videos").glob("*.mp4")))
    changes = {
        "models": {"base": {}, "tuned": {"adapter_name_or_path": str(folder / "adapter")}},
        "model_name_or_path": str(demo.model),
        "video_maxlen": FRAMES,
        "max_new_tokens": 6,
        "batch_size": 3,
    }
    assert evaluate(write_recipe(folder, **changes)) == 0
    return Evaluation(folder, changes)


def test_base_and_adapter_are_asked_everything(finished: Evaluation) -> None:
    base, tuned = finished.replies("base"), finished.replies("tuned")
    assert list(base) == list(tuned) == IDS
    assert base != tuned
    assert len(set(base.values())) > 1
    settings = json.loads((finished.folder / "out" / NAME / "tuned" / "settings.json").read_text())
    assert settings["adapter_name_or_path"] == str(finished.folder / "adapter")
    assert len(settings["adapter files"]) == len(settings["model files"]) == 64
    assert settings["prompt"] == "<video>\n{question}\nPlease answer yes or no:"


def test_interrupted_and_resumed(
    finished: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Stopped in the second batch of each of two models, a line torn besides: the report is the uninterrupted one's."""
    from vistadpo_plugin.evaluation.inference import Responder

    recipe = finished.recipe(tmp_path)
    asked: list[int] = []
    stops = [1, 4]  # batches: base's first | its other two, tuned's first | its other two
    answer = Responder.answer

    def interrupted(self: Responder, prepared: list[dict[str, Any]]) -> list[Any]:
        if stops and len(asked) == stops[0]:
            stops.pop(0)
            raise KeyboardInterrupt
        asked.append(len(prepared))
        return answer(self, prepared)

    monkeypatch.setattr(Responder, "answer", interrupted)
    torn = None
    for model in ("base", "tuned"):
        assert evaluate(recipe) == 130
        said = capsys.readouterr()
        assert "the same command goes on" in said.err
        assert torn is None or f"{torn}: the last line was torn by an interruption" in said.out
        assert not (tmp_path / "out" / "report.md").exists()
        torn = tmp_path / "out" / NAME / model / "replies.jsonl"
        assert len(torn.read_text().splitlines()) == 3
        torn.write_text(torn.read_text()[:-9])

    assert evaluate(recipe) == 0
    assert asked == [3, 3, 3, 3, 3, 3]  # 2 x 8 questions, and the two torn ones again
    for name in ("report.json", "report.md"):
        assert (tmp_path / "out" / name).read_bytes() == (finished.folder / "out" / name).read_bytes(), name
    assert evaluate(recipe) == 0
    assert len(asked) == 6


def test_stages_alone_make_the_same_report(finished: Evaluation, tmp_path: Path) -> None:
    recipe = finished.recipe(tmp_path, batch_size=1)
    for stage in ("export", "infer", "score"):
        assert not (tmp_path / "out" / "report.md").exists()
        assert evaluate(stage, recipe) == 0
    assert (tmp_path / "out" / "report.md").read_bytes() == (finished.folder / "out" / "report.md").read_bytes()
    assert finished.replies("tuned", tmp_path) == finished.replies("tuned")


def test_replies_of_another_adapter_are_not_continued(
    finished: Evaluation, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(finished.folder / "out", tmp_path / "out")
    recipe = finished.recipe(tmp_path)
    settings = tmp_path / "out" / NAME / "tuned" / "settings.json"
    made = json.loads(settings.read_text())
    settings.write_text(json.dumps({**made, "adapter files": "0" * 64}))
    for words in (["infer"], ["score"], []):
        assert evaluate(*words, recipe) == 1
        said = capsys.readouterr().err
        assert f"adapter files: {'0' * 12} there, {made['adapter files'][:12]} here" in said


def test_missing_and_unreadable_videos(finished: Evaluation, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """One of eight videos is gone, another is damaged: three questions, two and one, have no reply."""
    shutil.copytree(finished.folder / "media", tmp_path / "media")
    (tmp_path / "media" / "entire" / "entire_001.mp4").unlink()
    recipe = write_recipe(tmp_path, **{**finished.changes, "models": {"base": {}}})
    assert evaluate(recipe) == 1
    said = capsys.readouterr().err
    assert "eventhallusion: 1 video (entire/entire_001.mp4) missing below" in said and "--allow-partial" in said
    assert not (tmp_path / "out" / NAME / "base").exists()

    damaged = tmp_path / "media" / "misleading" / "misleading_002.mp4"
    damaged.write_bytes(b"nothing")
    assert evaluate("infer", recipe, "--allow-partial") == 0
    said = capsys.readouterr().out
    assert "1 video (entire/entire_001.mp4) missing" in said
    assert "1 question is left out: its video (misleading/misleading_002.mp4) cannot be read" in said
    assert evaluate("score", recipe) == 1
    assert (
        "base: 3 of 8 questions have no reply (entire_001/0, entire_001/1, misleading_002/0)" in capsys.readouterr().err
    )
    assert evaluate("score", "--allow-partial", recipe) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(table) > 5 and all("; 3 missing)" in line for line in table[2:])

    (tmp_path / "media" / "entire" / "entire_001.mp4").symlink_to(tmp_path / "media" / "entire" / "entire_002.mp4")
    assert evaluate("infer", recipe) == 1
    assert "question misleading_002/0: " in capsys.readouterr().err


def test_a_model_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture, demo: Demo) -> None:
    link_videos(tmp_path / "media", sorted((demo.data / "videos").glob("*.mp4")))
    models = {"tuned": {"model_name_or_path": str(demo.model), "adapter_name_or_path": str(tmp_path / "absent")}}
    assert evaluate("infer", write_recipe(tmp_path, models=models)) == 1
    said = capsys.readouterr().err
    assert "vistadpo evaluate: tuned: the model cannot be loaded." in said
    assert "`adapter_name_or_path: " in said and "absent` is no folder here" in said


@pytest.mark.parametrize("words", [[], ["score"], ["infer", "export", "recipe.yaml"], ["recipe.yaml", "--partial"]])
def test_wrong_arguments(words: list[str], capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    if words == ["score"]:  # a recipe by the name of a stage, which is not there
        assert evaluate(*words) == 2
        assert "score: cannot read the recipe" in capsys.readouterr().err
        return
    with pytest.raises(SystemExit) as stopped:
        evaluate(*words)
    assert stopped.value.code == 2


def test_wrong_recipe(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert evaluate(write_recipe(tmp_path, video_maxlne=8)) == 2
    recipe = tmp_path / "recipe.yaml"
    said = capsys.readouterr().err
    assert said == f"vistadpo evaluate: {recipe}: unknown key `video_maxlne`. Did you mean `video_maxlen`?\n"
    folders = {"annotations": str(tmp_path), "videos": str(tmp_path)}
    assert evaluate("score", write_recipe(tmp_path, benchmarks={"msvd_qa": folders})) == 2
    assert "judge" in capsys.readouterr().err


def test_annotations_that_are_not_there(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    shutil.rmtree(tmp_path / "asked")
    assert evaluate("export", recipe) == 1
    assert "entire_questions.json" in capsys.readouterr().err


def test_export_and_score_from_the_command(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    assert evaluate("export", recipe) == 0
    assert "eventhallusion: 8 questions in" in capsys.readouterr().out
    write_replies(tmp_path / "out" / NAME / "base", dict.fromkeys(IDS, "no"))
    write_replies(tmp_path / "out" / NAME / "tuned", dict(zip(IDS, ANSWERS, strict=True)))
    assert evaluate("score", recipe) == 0
    said = capsys.readouterr().out
    (overall,) = [line for line in said.splitlines() if line.startswith("| overall")]
    assert [cell.strip() for cell in overall.split("|")[2:-1]] == ["62.5 (5/8)", "100.0 (8/8)", "+37.5"]
    assert f"report: {tmp_path / 'out' / 'report.md'}" in said
