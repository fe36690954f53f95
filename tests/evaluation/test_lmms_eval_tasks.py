"""The tasks for lmms-eval's --include_path: what their files name is there, and their figures are our benchmarks'.

Where lmms-eval is installed, it also loads and runs them itself, with a model that answers from a list.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from eventhallusion_made import QUESTIONS, write_annotations

from vistadpo_plugin.commands.evaluate import main
from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.benchmarks.videohallucer import SUBSETS
from vistadpo_plugin.evaluation.lmms_eval import TASKS

# By pair of every subset, the replies to its basic and its hallucinated question.
REPLIES = {
    "object_relation": [("Yes.", "No, none."), ("yes", "Yes")],
    "temporal": [("I cannot tell.", "no")],
    "semantic_detail": [("yes", "no")],
    "external_factual": [("", "nothing")],
    "external_nonfactual": [("yes", "NO!")],
}
FIGURES = {
    # Pairs right: 1 of 2, 0, 1, 0 and 1 of 1; basic 2 of 2, 0, 1, 0, 1; hallucinated 1 of 2, 1, 1, 0, 1. A total is the
    # mean over the subsets.
    "vistadpo_videohallucer": {
        "overall": 50,
        "basic": 60,
        "hallucination": 70,
        "object_relation": 50,
        "temporal": 0,
        "semantic_detail": 100,
        "external_factual": 0,
        "external_nonfactual": 100,
    },
    # Always no: 2 of 3, 2 of 3, 1 of 2.
    "vistadpo_eventhallusion": {"overall": 62.5, "entire": 200 / 3, "mix": 200 / 3, "misleading": 50},
}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both benchmarks as released, their videos empty files; the variables point at them."""
    hallucer, event = tmp_path / "videohallucer", tmp_path / "eventhallusion"
    for subset in SUBSETS:
        entries = []
        for index, _ in enumerate(REPLIES[subset]):
            sides = {"basic": "yes", "hallucination": "no"}
            entries.append(
                {
                    side: {"video": f"{index}_{side}.mp4", "question": f"Is {subset} {index}?", "answer": answer}
                    for side, answer in sides.items()
                }
            )
            for side in sides:
                touch(hallucer / subset / "videos" / f"{index}_{side}.mp4")
        (hallucer / subset / f"{subset}.json").write_text(json.dumps(entries))
    write_annotations(event / "questions")
    for split, videos in QUESTIONS.items():
        for video in videos:
            touch(event / "videos" / split / f"{video}.mp4")
    monkeypatch.setenv("VIDEOHALLUCER_DIR", str(hallucer))
    monkeypatch.setenv("EVENTHALLUSION_DIR", str(event))
    return tmp_path


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def reply(id_: str) -> str:
    """What is said to a question of VideoHallucer by its id, FILE/INDEX/SIDE; to any other always no."""
    subset, *rest = id_.split("/")
    if subset not in REPLIES:
        return "No"
    return REPLIES[subset][int(rest[0])][rest[1] == "hallucination"]


def read_task(path: Path) -> dict[str, Any]:
    """The file with its `!function FILE.NAME` resolved as lmms-eval does: the file beside it, executed."""

    def function(loader: yaml.Loader, node: yaml.Node) -> Callable[..., Any]:
        file, _, name = loader.construct_scalar(node).rpartition(".")
        spec = importlib.util.spec_from_file_location(file, path.parent / f"{file}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, name)

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", function)
    return yaml.load(path.read_text(), Loader)


@pytest.mark.parametrize("name", ["videohallucer", "eventhallusion"])
def test_documents_and_figures(name: str, folders: Path) -> None:
    task = read_task(TASKS / f"{name}.yaml")
    assert (TASKS / task["dataset_kwargs"]["data_files"]["test"]).is_file()
    docs = task["process_docs"](None)
    questions = BENCHMARKS[name].questions(folders / name)
    assert [(doc["id"], doc["prompt"], doc["answer"]) for doc in docs] == [
        (q.id, q.prompt, q.answer) for q in questions
    ]
    assert all(Path(video).is_file() for doc in docs for video in task["doc_to_visual"](doc))
    items = [task["process_results"](doc, [reply(doc["id"])]) for doc in docs]
    assert all(set(item) == set(FIGURES[task["task"]]) for item in items)
    found = {
        entry["metric"]: entry["aggregation"]([item[entry["metric"]] for item in items])
        for entry in task["metric_list"]
    }
    assert found == pytest.approx(FIGURES[task["task"]])
    # What a limit leaves has no total where a subset is without replies.
    if name == "videohallucer":
        (overall,) = (entry["aggregation"] for entry in task["metric_list"] if entry["metric"] == "overall")
        assert str(overall([item["overall"] for item in items[:2]])) == "nan"


def test_a_folder_that_is_not_there_is_asked_for(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = read_task(TASKS / "eventhallusion.yaml")["process_docs"]
    (folders / "eventhallusion/videos/entire/entire_001.mp4").unlink()
    with pytest.raises(ValueError, match=r"eventhallusion: 1 video \(entire/entire_001.mp4\) missing below"):
        docs(None)
    monkeypatch.delenv("EVENTHALLUSION_DIR")
    with pytest.raises(ValueError, match="set EVENTHALLUSION_DIR to the folder"):
        docs(None)


def test_a_command_prints_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lmms-tasks"]) == 0
    assert Path(capsys.readouterr().out.strip()) == TASKS


def test_lmms_eval_runs_them(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lmms_eval")
    from lmms_eval.api.model import lmms
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    monkeypatch.setenv("HF_DATASETS_CACHE", str(folders / "cache"))

    class Says(lmms):
        is_simple = False

        def generate_until(self, requests: list[Any]) -> list[str]:
            said = []
            for request in requests:
                _, doc_to_messages, generation, doc_id, task, split = request.args
                doc = self.task_dict[task][split][doc_id]
                (message,) = doc_to_messages(doc)
                assert [part["type"] for part in message["content"]] == ["video", "text"]
                assert message["content"][1]["text"] == doc["prompt"] and generation["do_sample"] is False
                said.append(reply(doc["id"]))
            return said

        def loglikelihood(self, requests: list[Any]) -> Any: ...

        def generate_until_multi_round(self, requests: list[Any]) -> Any: ...

    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    assert manager.all_subtasks == sorted(FIGURES)
    results = simple_evaluate(Says(), tasks=sorted(FIGURES), task_manager=manager, bootstrap_iters=0)["results"]
    for task, figures in FIGURES.items():
        assert {name: results[task][f"{name},none"] for name in figures} == pytest.approx(figures)
