"""The progress line, with a clock in the test's hand."""

from __future__ import annotations

import pytest

from pytest_diffbench.report.progress import LogLines, Outlook, Progress


class Terminal:
    """Shows what a terminal's line holds after carriage returns, and lets time pass."""

    def __init__(self, width: int = 80, encoding: str | None = "utf-8") -> None:
        self.now_s = 100.0
        self.line = ""
        self.writes: list[str] = []
        self.progress = Progress(self._write, width, lambda: self.now_s, encoding)

    def _write(self, text: str) -> None:
        self.writes.append(text)
        for part in text.split("\r")[1:]:
            self.line = part + self.line[len(part) :]

    def after(self, elapsed_s: float, phase: str, done: int, total: int) -> str:
        self.now_s += elapsed_s
        self.progress.advance(phase, done, total)
        return self.line.rstrip()


def test_a_whole_case() -> None:
    terminal = Terminal()
    name = "lumina2 mini · test_cfg_trunc[0.5]"
    terminal.progress.start("test_cfg_trunc[0.5]", "lumina2 mini")
    assert terminal.line == name
    assert terminal.after(0.0, "survey", 0, 8) == f"{name} · survey"
    assert terminal.after(3.0, "layers", 1, 8) == f"{name} · layers · about 21 s left"
    assert terminal.after(2.0, "warm-up 1/1", 2, 8) == f"{name} · warm-up 1/1 · about 15 s left"
    assert terminal.after(1.0, "round 1/5", 3, 8) == f"{name} · round 1/5 · about 8 s left"
    assert terminal.after(1.0, "round 2/5", 4, 8) == f"{name} · round 2/5 · about 4 s left"
    assert terminal.after(0.6, "round 5/5", 7, 8) == f"{name} · round 5/5 · about 1 s left"
    assert terminal.after(0.5, "judging", 8, 8) == f"{name} · judging"
    terminal.progress.finish()
    assert terminal.line.strip() == ""
    assert terminal.writes[-1].endswith("\r")


def test_a_case_starts_without_the_past_of_the_previous_case() -> None:
    terminal = Terminal()
    terminal.progress.start("one", "")
    terminal.after(50.0, "round 1/2", 1, 2)
    terminal.progress.start("two", "")
    assert terminal.after(1.0, "survey", 0, 8) == "two · survey"
    assert terminal.after(2.0, "round", 1, 8) == "two · round · about 21 s left"


def test_long_waits_are_reported_in_minutes() -> None:
    terminal = Terminal()
    terminal.progress.start("t", "")
    assert terminal.after(60.0, "round 1/5", 1, 5) == "t · round 1/5 · about 4 min left"


def test_a_stopped_clock_says_little() -> None:
    terminal = Terminal()
    terminal.progress.start("t", "")
    assert terminal.after(0.0, "round 1/5", 1, 5) == "t · round 1/5 · about 1 s left"


@pytest.mark.parametrize("width", [0, 1, 3, 10, 40, 80])
def test_never_reaches_the_last_column(width: int) -> None:
    terminal = Terminal(width)
    terminal.progress.start("test_" + "x" * 100, "lumina2 mini")
    terminal.after(5.0, "round 3/5", 3, 5)
    terminal.progress.finish()
    assert all(len(part) <= max(width - 1, 0) for text in terminal.writes for part in text.split("\r"))


def test_a_long_line_keeps_what_is_being_done() -> None:
    terminal = Terminal(50)
    terminal.progress.start("test_" + "x" * 100, "lumina2 mini")
    assert terminal.after(5.0, "round 3/5", 3, 5).endswith("x · round 3/5 · about 4 s left")


def test_shorter_text_erases_longer_text() -> None:
    terminal = Terminal()
    terminal.progress.start("a_long_name_of_a_test", "")
    terminal.progress.start("b", "")
    assert terminal.line.rstrip() == "b"


def test_writes_nothing_unless_started() -> None:
    terminal = Terminal()
    terminal.progress.finish()
    terminal.progress.start("t", "")
    terminal.progress.finish()
    terminal.progress.finish()
    assert len(terminal.writes) == 2


def test_ascii_streams() -> None:
    terminal = Terminal(encoding="ascii")
    terminal.progress.start("t\x1b[31m", "lumina2 mini")
    assert terminal.line == "lumina2 mini - t\\x1b[31m"


class Log:
    """Lines of a log, and time in the test's hand."""

    def __init__(self, tests: int) -> None:
        self.now_s = 500.0
        self.lines: list[str] = []
        self.outlook = Outlook(lambda: self.now_s)
        self.outlook.total = tests
        self.log = LogLines(self.lines.append, lambda: self.now_s, self.outlook, every_s=60.0)

    def begin(self, test: str) -> None:
        self.outlook.begin(test)
        self.log.start(test)

    def after(self, elapsed_s: float, phase: str, done: int, total: int, *, at_once: bool = False) -> list[str]:
        self.now_s += elapsed_s
        self.lines.clear()
        self.log.advance(phase, done, total, at_once=at_once)
        return list(self.lines)


def test_a_log_gets_a_line_a_minute() -> None:
    log = Log(tests=3)
    log.begin("one")
    assert log.after(30.0, "count", 1, 8) == []
    assert log.after(30.0, "layers", 2, 8) == ["diffbench: 1 of 3 tests, one: layers, about 3 min left"]
    assert log.after(59.0, "warm-up 1/1", 3, 8) == []
    log.begin("two")
    assert log.after(10.0, "survey", 0, 8) == [
        "diffbench: 2 of 3 tests, two: survey, about 2 min left"  # the third as long as the first
    ]
    log.begin("three")
    assert log.after(50.0, "survey", 0, 4) == []
    assert log.after(10.0, "round 3/5", 2, 4) == ["diffbench: 3 of 3 tests, three: round 3 of 5, about 60 s left"]


def test_what_takes_long_in_a_different_process_is_reported_at_once() -> None:
    log = Log(tests=1)
    log.begin("one")
    phase = "confirming its time: process 1 of at most 4, each about 20 s"
    assert log.after(1.0, phase, 0, 0, at_once=True) == [f"diffbench: one: {phase}"]
    assert log.after(59.0, "round 1/2", 0, 0) == []


def test_a_line_of_a_session_counts_tests_and_knows_the_rest() -> None:
    terminal = Terminal()
    outlook = Outlook(lambda: terminal.now_s)
    outlook.total = 3
    progress = Progress(terminal._write, 120, lambda: terminal.now_s, outlook=outlook)
    outlook.begin("one")
    progress.start("one", "lumina2 mini")
    assert terminal.line.rstrip() == "1 of 3 · lumina2 mini · one"
    terminal.now_s += 40.0
    outlook.begin("two")
    outlook.begin("two")  # run again by a plugin
    progress.start("two", "")
    progress.advance("survey", 0, 5)
    assert terminal.line.rstrip() == "2 of 3 · two · survey · about 40 s left with all others"
    terminal.now_s += 2.0
    progress.advance("round 1/2", 2, 5)
    assert terminal.line.rstrip() == "2 of 3 · two · round 1/2 · about 3 s left, 43 s with all others"


def test_more_tests_than_expected_have_no_place() -> None:
    outlook = Outlook(lambda: 0.0)
    outlook.total = 1
    outlook.begin("one")
    assert (outlook.place, outlook.others_s()) == ("", None)
    outlook.begin("two")
    assert (outlook.place, outlook.others_s()) == ("", None)
