import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edgeq.errors import DataError
from edgeq.stream import OutputFormat, Recorder, Result

NOW = datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
SCORES = OutputFormat("scores", (1, 3), "int8", 0.5, -128)
COUNT = OutputFormat("count", (1,), "int16")
RESULT = Result(bytes([0x80, 0x7F, 0x00]) + (-2).to_bytes(2, "little", signed=True), 3000, 7)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_outputs_are_recorded_in_reals_where_the_scale_is_known(tmp_path: Path) -> None:
    paths = tmp_path / "r.csv", tmp_path / "r.jsonl"
    with Recorder(
        ticks_hz=1_000_000,
        csv_path=paths[0],
        jsonl_path=paths[1],
        formats=(SCORES, COUNT),
        now=lambda: NOW,
    ) as recorder:
        row = recorder.write(RESULT)
    assert row == {
        "run_id": 7,
        "host_time": "2030-01-02T03:04:05.000006+00:00",
        "ticks": 3000,
        "seconds": 0.003,
        "top_class": 1,
        "outputs": {"scores": [[0.0, 127.5, 64.0]], "count": [-2]},
    }
    assert [json.loads(line) for line in paths[1].read_text().splitlines()] == [row]
    (line,) = read(paths[0])
    assert (line["run_id"], line["ticks"], line["top_class"]) == ("7", "3000", "1")
    assert [line[f"scores[{i}]"] for i in range(3)] == ["0.0", "127.5", "64.0"]
    assert line["count[0]"] == "-2"


def test_each_row_is_in_the_file_before_the_next(tmp_path: Path) -> None:
    path, lines = tmp_path / "r.csv", tmp_path / "r.jsonl"
    with Recorder(ticks_hz=10, csv_path=path, jsonl_path=lines) as recorder:
        assert read(path) == []
        for count in (1, 2, 3):
            recorder.write(Result(b"\0\xff", 5, count))
            assert len(read(path)) == len(lines.read_text().splitlines()) == count
    row = read(path)[-1]
    assert (row["output_hex"], row["top_class"], row["seconds"]) == ("00ff", "", "0.5")
    assert json.loads(lines.read_text().splitlines()[0])["top_class"] is None


def test_the_host_time_is_that_of_now(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with Recorder(ticks_hz=10) as recorder:
        row = recorder.write(Result(b"x", 5, 1))
    assert before <= datetime.fromisoformat(row["host_time"]) <= datetime.now(UTC)


def test_a_result_of_another_size_is_refused() -> None:
    refusal = pytest.raises(DataError, match="has 4 bytes, its formats take 3")
    with Recorder(ticks_hz=10, formats=(SCORES,)) as recorder, refusal:
        recorder.write(Result(bytes(4), 1, 1))


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent"):
        Recorder(ticks_hz=10, csv_path=tmp_path / "absent" / "r.csv")


def test_elements_are_little_endian_on_every_host() -> None:
    tensor = OutputFormat("x", (2,), "int32")
    with Recorder(ticks_hz=10, formats=(tensor,)) as recorder:
        row = recorder.write(Result(np.array([1, -2], "<i4").tobytes(), 1, 1))
    assert row["outputs"] == {"x": [1, -2]}
