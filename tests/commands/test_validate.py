"""The command: what it reads, what it prints, what it returns, and what it does not import."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import subprocess
import sys
import termios
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import write_rows
from validation.doctor_media import HANGS, OPENED, inspect_and_tell

from vistadpo_plugin.commands.main import main as vistadpo
from vistadpo_plugin.commands.validate import main
from vistadpo_plugin.demo.shapes import build_videos

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `rows.jsonl` (ten rows with everything but for two gaps), its videos and dataset_info.json."""
    folder = tmp_path_factory.mktemp("validate")
    path = build_videos(folder, 10, seed=0)
    write_rows(folder, [json.loads(line) for line in path.read_text().splitlines()])
    return folder


@pytest.fixture
def bad(data: Path) -> Path:
    """The same rows; the second has no answer and the third a box without area."""
    rows = [json.loads(line) for line in (data / "rows.jsonl").read_text().splitlines()]
    rows[1]["chosen"], rows[2]["box"] = "", [5, 5, 0, 0]
    path = data / "bad.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


Capture = pytest.CaptureFixture[str]


def test_good_rows_are_0(data: Path, capsys: Capture) -> None:
    assert vistadpo(["validate", str(data / "rows.jsonl")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("rows.jsonl: 10 rows, videos below") and err == ""
    assert out.endswith("All 10 rows can be used (0 errors, 0 warnings, 0 notes).\n")


def test_a_name_is_looked_up_as_the_host_does(data: Path, capsys: Capture) -> None:
    assert main(["rows", "--dataset-dir", str(data)]) == 0
    assert capsys.readouterr().out.startswith(f"rows: 10 rows, videos below {data}\n")


def test_an_unusable_row_is_1_and_named(bad: Path, capsys: Capture) -> None:
    assert main([str(bad), "--no-decode"]) == 1
    out = capsys.readouterr().out
    assert "bad.jsonl:2 (id shapes-0001): `chosen` is empty" in out
    assert "bad.jsonl:3 (id shapes-0002): a box has no area and is left out: the row has no object term" in out
    assert out.endswith("1 of 10 rows cannot be used (1 error, 1 warning, 0 notes).\n")


def test_json_is_the_whole_output(bad: Path, capsys: Capture) -> None:
    assert main([str(bad), "--no-decode", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == 10 and report["usable"] == 9
    assert [(found["kind"], found["line"], found["id"]) for found in report["findings"]] == [
        ("missing-text", 2, "shapes-0001"),
        ("box-without-area", 3, "shapes-0002"),
    ]


def test_a_broken_video_is_found_by_decoding(data: Path, tmp_path: Path, capsys: Capture) -> None:
    """Zeros over the second half of the frames' data leave the header as it is."""
    row = json.loads((data / "rows.jsonl").read_text().splitlines()[0])
    content = bytearray((data / row["video"]).read_bytes())
    begin, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    content[(begin + end) // 2 : end] = bytes(end - (begin + end) // 2)
    (tmp_path / "zeros.mp4").write_bytes(content)
    path = write_rows(tmp_path, [{**row, "video": "zeros.mp4"}])
    assert main([str(path), "--no-decode"]) == 0
    capsys.readouterr()
    assert main([str(path)]) == 1
    assert "undecodable-file (1 row)" in (out := capsys.readouterr().out) and "zeros.mp4" in out


def test_annotations_alone(bad: Path, tmp_path: Path, capsys: Capture) -> None:
    """`--no-media` says nothing of files; without it, where no video is, that is said once."""
    moved = tmp_path / "bad.jsonl"
    moved.write_bytes(bad.read_bytes())
    assert main([str(moved), "--no-media"]) == 1
    assert "media-absent" not in (out := capsys.readouterr().out) and "missing-text" in out
    assert main([str(moved)]) == 1
    assert (out := capsys.readouterr().out).count("media-absent") == 1 and "missing-file" not in out
    assert main([str(moved), "--media-dir", str(tmp_path)]) == 1
    assert "missing-file (9 rows)" in capsys.readouterr().out
    assert main([str(moved), "--media-dir", str(bad.parent)]) == 1
    assert "missing-file" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gone.jsonl"], "gone.jsonl: no such file"),
        (["{data}/videos"], "is not one"),
        (["gone", "--dataset-dir", "{data}"], "has no data set 'gone'"),
        (["rows", "--dataset-dir", "{data}/videos"], "dataset_info.json: no such file"),
        (["{data}/rows.jsonl", "--media-dir", "{data}/gone"], "--media-dir"),
        (["{data}/rows.jsonl", "--media-dir", "{data}", "--no-media"], "not allowed with"),
        (["{data}/rows.jsonl", "--time-limit", "0"], "above 0"),
        (["{data}/rows.jsonl", "--video-fps", "nan"], "above 0"),
        (["{data}/rows.jsonl", "--workers", "0"], "1 or more"),
        ([], "required"),
    ],
)
def test_a_wrong_argument_is_2(data: Path, capsys: Capture, arguments: list[str], says: str) -> None:
    try:
        status: Any = main([argument.format(data=data) for argument in arguments])
    except SystemExit as exit_:  # argparse leaves this way
        status = exit_.code
    out, err = capsys.readouterr()
    assert status == 2 and out == "" and says in err and "Traceback" not in err


def launch(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in an interpreter of its own."""
    words = [sys.executable, "-m", "vistadpo_plugin.commands.validate", *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=100, **options)


def test_neither_the_host_nor_torch_is_imported(data: Path) -> None:
    """They cost seconds, and an annotator's machine may have neither."""
    code = (
        "import sys\n"
        "from vistadpo_plugin.commands.validate import main\n"
        "if __name__ == '__main__':\n"
        "    status = main(sys.argv[1:])\n"
        "    print(status, [name for name in ('llamafactory', 'torch', 'transformers', 'datasets', 'pandas')"
        " if name in sys.modules])\n"
    )
    script = data / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script, str(data / "rows.jsonl")], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(data: Path) -> None:
    words = f"{sys.executable} -m vistadpo_plugin.commands.validate {data / 'rows.jsonl'} --no-media --all | true"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=100)
    assert done.stderr == ""


def test_odd_letters_reach_a_terminal_that_lacks_them(data: Path) -> None:
    row = {"id": "caf\u00e9 \U0001f600", "video": "a.mp4", "prompt": "?", "chosen": "", "rejected": "x"}
    (data / "odd.jsonl").write_text(json.dumps(row))
    done = launch(str(data / "odd.jsonl"), "--no-media", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1 and "(id caf\\xe9 \\U0001f600)" in done.stdout, done.stderr


def on_a_terminal(words: list[str]) -> str:
    """Standard error of a command that sees a terminal there."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # what Linux gives when the other end is gone
        pass
    os.close(ours)
    assert process.wait(100) in (0, 1)
    return shown.decode()


def test_a_bar_shows_on_a_terminal_when_the_work_takes_long(data: Path) -> None:
    """A video that takes for ever keeps it waiting for 1.5 seconds; a bar begins after one."""
    rows = [json.loads(line) for line in (data / "rows.jsonl").read_text().splitlines()]
    shutil.copy(data / rows[0]["video"], data / HANGS)
    slow = [{**rows[0], "video": HANGS}, rows[0]]
    (data / "slow.jsonl").write_text("".join(json.dumps(row) + "\n" for row in slow))
    code = f"""
import sys
sys.path[:0] = {[str(TESTS), str(TESTS / "validation")]!r}
from doctor_media import inspect_or_hang
from vistadpo_plugin.commands.validate import main
from vistadpo_plugin.validation import examine
examine.inspect = inspect_or_hang
sys.exit(main())
"""
    words = [sys.executable, "-c", code, str(data / "slow.jsonl"), "--time-limit", "1.5", "--workers", "1"]
    assert "reading videos" in on_a_terminal(words)


def processor_seconds() -> float:
    """What this process and the children it has waited for have computed: another program's work is not in it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def test_ten_thousand_rows_cost_ten_times_a_thousand(capsys: Capture, many: Callable[[int], Path]) -> None:
    """Or so; held each against each they would cost a hundred times as much."""

    def cost(count: int) -> float:
        path, before = many(count), processor_seconds()
        assert main([str(path), "--no-decode"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"many.jsonl: {count} rows") and f"All {count} rows can be used" in out
        return processor_seconds() - before

    before, large, after = cost(1000), cost(10_000), cost(1000)
    assert large < 16 * max(before, after)


@pytest.mark.parametrize("options", [["--no-decode"], []])
def test_a_video_is_opened_as_often_for_many_rows_as_for_few(
    options: list[str], data: Path, capsys: Capture, many: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vistadpo_plugin.validation.examine.inspect", inspect_and_tell)

    def opened(path: Path) -> Counter[str]:
        (data / OPENED).unlink(missing_ok=True)
        assert main([str(path), *options]) == 0
        return Counter((data / OPENED).read_text().split())

    videos = {Path(json.loads(line)["video"]).name for line in (data / "rows.jsonl").read_text().splitlines()}
    for_few = opened(data / "rows.jsonl")
    assert set(for_few) == videos and opened(many(200)) == for_few


@pytest.fixture
def many(data: Path) -> Callable[[int], Path]:
    """So many rows over the same videos, each with a question of its own."""

    def write(count: int) -> Path:
        rows = [json.loads(line) for line in (data / "rows.jsonl").read_text().splitlines()]
        path = data / "many.jsonl"
        with path.open("w") as stream:
            for index in range(count):
                row = rows[index % len(rows)]
                stream.write(json.dumps({**row, "id": index, "prompt": f"{row['prompt']} ({index})"}) + "\n")
        return path

    return write
