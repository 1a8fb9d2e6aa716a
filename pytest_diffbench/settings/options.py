"""Command line, ini file and marker, resolved once into frozen settings.

`Settings` is the only table: its fields say which sources each setting has, so that no second list can drift.
This module is imported by every pytest run, also an idle one, and imports nothing heavy.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_diffbench.errors import OptionError, did_you_mean
from pytest_diffbench.settings.values import (
    choice,
    choices,
    interpreter,
    seconds,
    seed,
    share,
    switch,
    text,
    tolerance,
    whole,
    whole_or,
)
from pytest_diffbench.stats.enough_rounds import AUTO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

WEIGHTS = ("mini", "plan", "random", "pretrained")
OFFLOADS = ("none", "model", "sequential", "group")
COMPILES = ("none", "whole", "regional")
GATE_NAMES = ("work", "guidance", "output", "memory", "time")
"""As `records.GATES`, which costs more to import than an idle run may; a test holds them equal."""

METRICS = ("flip", "ssimulacra2", "lpips")
"""As `outputs.metrics.OPTIONAL`, for the same reason."""


def _setting(
    parse: Callable[[Any], Any],
    default: Any,
    sources: str,
    help_text: str,
    metavar: str | None = None,
) -> Any:
    """A field of `Settings`. `sources` holds `c` for the command line, `m` for the marker, `i` for the ini file."""
    metadata = {"parse": parse, "sources": sources, "help": help_text, "metavar": metavar}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one test. Precedence: command line, marker, ini file, default."""

    model: str | None = _setting(text, None, "m", "name of a registered model")
    weights: str = _setting(
        choice(*WEIGHTS),
        "mini",
        "cmi",
        "weights to use: mini, plan (full size, work only), random (full size), pretrained",
        "KIND",
    )
    models: str | None = _setting(
        text,
        None,
        "ci",
        "pretrained pipelines: a folder with a sub-folder for each model, a pipeline's folder, or a single file",
        "DIR",
    )
    download: bool = _setting(switch, False, "c", "fetch missing pretrained weights from the hub: tens of gigabytes")
    device: str = _setting(text, "auto", "cmi", "torch device; auto: a GPU if there is one", "DEVICE")
    dtype: str | None = _setting(
        text,
        None,
        "cmi",
        "dtype of the pipeline; by default float32 on the CPU and for minis, otherwise bfloat16",
        "DTYPE",
    )
    offload: str = _setting(
        choice(*OFFLOADS), "none", "cmi", "offload to the CPU: none, model, sequential, group", "KIND"
    )
    attention: str | None = _setting(text, None, "cmi", "diffusers' attention backend of the denoiser", "BACKEND")
    compile: str = _setting(
        choice(*COMPILES), "none", "cmi", "torch.compile of the denoiser: none, whole, regional", "KIND"
    )
    channels_last: bool = _setting(switch, False, "cmi", "keep VAE and UNet in channels-last memory format")
    vae_tiling: bool = _setting(switch, False, "cmi", "let the VAE process tiles")
    vae_slicing: bool = _setting(switch, False, "cmi", "let the VAE process one image at a time")
    quantize: str | None = _setting(
        text, None, "cmi", "load a pretrained denoiser quantised: int8, float8, nf4, fp4", "TYPE"
    )
    lora: str | None = _setting(text, None, "cmi", "safetensors file with a LoRA to load", "FILE")
    cache: str | None = _setting(
        text,
        None,
        "cmi",
        "cache of the denoiser: first-block, pyramid, faster or taylorseer, with optional :PARAMETERS",
        "CACHE",
    )
    seed: int = _setting(seed, 0, "mi", "seed of the noise")
    rounds: int | str = _setting(
        whole_or(AUTO, 1),
        AUTO,
        "cmi",
        "timed rounds of each case; auto: 3 to 10, until their median is precise enough",
        "N",
    )
    warmup_rounds: int = _setting(
        whole(0), 1, "mi", "least number of untimed rounds before the timed ones, besides the survey"
    )
    threads: int | None = _setting(
        whole(1, 1024),
        None,
        "cmi",
        "torch's threads on the CPU; by default 1 for minis on the CPU, otherwise torch's own number",
        "N",
    )
    gates: tuple[str, ...] = _setting(
        choices("gates", *GATE_NAMES), GATE_NAMES, "cmi", "gates to judge, separated by commas", "LIST"
    )
    metrics: tuple[str, ...] = _setting(
        choices("metrics", *METRICS),
        (),
        "cmi",
        "image metrics of other packages, separated by commas: flip, ssimulacra2, lpips",
        "LIST",
    )
    lpips_backbone: str | None = _setting(
        text, None, "ci", "weights of AlexNet for LPIPS, a state dict of torchvision; never downloaded", "FILE"
    )
    probe: bool = _setting(
        switch, False, "cmi", "make further calls with a prompt and seeds that are drawn, for `diffbench answer`"
    )
    strict: bool = _setting(switch, False, "ci", "also fail if a case is undecided or can't be compared")
    require: bool = _setting(switch, False, "ci", "fail if a selected benchmark is skipped")
    save: bool = _setting(switch, False, "c", "measure, and accept the results as baselines")
    baselines: str = _setting(text, "baselines", "ci", "folder of the baselines", "DIR")
    json: str | None = _setting(text, None, "c", "write all results of the session to FILE", "FILE")
    images: str | None = _setting(
        text,
        None,
        "c",
        "keep what all cases return in FOLDER, for `diffbench judge` and `diffbench accept`",
        "FOLDER",
    )
    report: str | None = _setting(
        text, None, "c", "write a page to look at: FILE.html for a single file, or a folder", "PATH"
    )
    history: str | None = _setting(text, None, "ci", "add the figures of the session to the history in FILE", "FILE")
    profile: str | None = _setting(
        text, None, "c", "write a Chrome trace of each case into FOLDER, to open in Perfetto", "FOLDER"
    )
    memory_limit_rel: float | None = _setting(share, None, "mi", "allowed growth of peak memory")
    time_floor_rel: float | None = _setting(share, None, "mi", "change of time too small to matter, as a share")
    time_floor_s: float | None = _setting(seconds, None, "mi", "change of time too small to matter, in seconds")
    confirm: int = _setting(
        whole(0),
        4,
        "cmi",
        "most fresh processes to confirm that a case is slower or faster; 0 for none",
        "N",
    )
    against: str | None = _setting(
        interpreter, None, "c", "compare with the same tests under another environment's interpreter", "PYTHON"
    )
    pairs: int = _setting(whole(1), 5, "ci", "pairs of processes with --diffbench-against", "N")
    turns: str = _setting(
        choice("auto", "rounds", "processes"),
        "auto",
        "ci",
        "what alternates in a pair: rounds of two live processes, or whole processes; auto: rounds for minis on "
        "the CPU",
        "KIND",
    )
    selftest: bool = _setting(
        switch, False, "c", "instead of judging tests, measure what the time gate finds on this machine"
    )
    max_time: float | None = _setting(
        seconds,
        None,
        "ci",
        "limit in seconds for all further processes together; by default the time that measuring took, at least 120, "
        "and 600 with --diffbench-against or --diffbench-selftest",
        "SECONDS",
    )
    tolerance: tuple[tuple[str, float], ...] | None = _setting(
        tolerance, None, "m", "thresholds of the output gate for this case, such as {'psnr_db': 35}"
    )
    reason: str | None = _setting(
        text, None, "m", "why the thresholds are looser than the defaults; required if they are"
    )


_PATHS = ("models", "lora", "baselines", "json", "images", "report", "history", "profile", "lpips_backbone")
"""Relative ones start where the shell is on the command line, beside the ini file when they stand there, and at
pytest's root folder in a marker."""

_SETTINGS = {field.name: field for field in dataclasses.fields(Settings)}


def names(source: str) -> list[str]:
    """Settings that have a source: `c`, `m` or `i`."""
    return [name for name, field in _SETTINGS.items() if source in field.metadata["sources"]]


def flag(name: str) -> str:
    """The command-line option of a setting."""
    return f"--diffbench-{name.replace('_', '-')}"


def add_options(parser: pytest.Parser) -> None:
    """Declare the command line and the ini file's keys."""
    group = parser.getgroup("diffbench", "performance regression of diffusion pipelines")
    group.addoption("--diffbench", action="store_true", help="run the benchmarks; without it, they are skipped")
    for name in names("c"):
        field = _SETTINGS[name]
        if field.type == "bool":
            group.addoption(flag(name), action="store_true", help=field.metadata["help"])
        else:
            group.addoption(flag(name), metavar=field.metadata["metavar"], default=None, help=_help(field))
    for name in names("i"):
        field = _SETTINGS[name]
        kind: Literal["bool", "string"] = "bool" if field.type == "bool" else "string"
        parser.addini(f"diffbench_{name}", _help(field), type=kind, default=None)


def _help(field: dataclasses.Field[Any]) -> str:
    """What a setting is, and its default where it has one."""
    text: str = field.metadata["help"]
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    return text if default is None or default is False or default == "" else f"{text} (default: {default})"


_ACTIVE = ("diffbench", "diffbench_save", "diffbench_against", "diffbench_selftest")


def is_active(config: pytest.Config) -> bool:
    """Whether this session measures. Saving, another environment and the self-test make no sense without."""
    return any(config.getoption(name) not in (None, False) for name in _ACTIVE)


def is_parallel(config: pytest.Config) -> bool:
    """Whether pytest-xdist runs tests in several processes at once."""
    return hasattr(config, "workerinput") or config.getoption("dist", default="no") != "no"


def resolve(config: pytest.Config, marker: Mapping[str, Any], where: str) -> Settings:
    """Settings of one test.

    Args:
        config: pytest's.
        marker: keyword arguments of the test's marker.
        where: the test's id, for messages.

    Raises:
        OptionError: naming the source, the setting, its value and what it may be.
    """
    known = names("m")
    for name in marker:
        if name not in known:
            raise OptionError(
                f"{where}: the diffbench marker has no argument {name!r}{did_you_mean(name, known)}."
                f" It takes: {', '.join(known)}."
            )
    values: dict[str, Any] = {}
    for name, field in _SETTINGS.items():
        for label, value in _candidates(config, marker, name, field.metadata["sources"]):
            if value is not None:
                try:
                    values[name] = field.metadata["parse"](value)
                    if name in _PATHS:
                        values[name] = str(_base(config, label) / _expanded(values[name]))
                except (ValueError, TypeError) as error:
                    place = where if label == "marker" else "pytest"
                    what = f"the marker's {name}" if label == "marker" else label
                    raise OptionError(f"{place}: {what} {error}, not {value!r}.") from None
                break
    settings = Settings(**values)
    _refuse_silent_loosening(settings, where)
    return settings


_SESSION_ONLY = (
    "save",
    "json",
    "images",
    "report",
    "history",
    "profile",
    "against",
    "pairs",
    "turns",
    "selftest",
    "strict",
    "require",
    "confirm",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Typed:
    """What a suggested command has to repeat.

    Attributes:
        command: what it begins with: `pytest`, and the options that made this session what it was. Paths are written
            as they were given, since the command is to be pasted where that was typed.
        root: path from there to pytest's root folder, which ids of tests begin at; empty where it's the same.
    """

    command: tuple[str, ...] = ("pytest",)
    root: str = ""


def typed(config: pytest.Config) -> Typed:
    """What was typed to begin a session, as far as it makes the session what it is."""
    words = ["pytest"]
    for name in names("c"):
        value = config.getoption(f"diffbench_{name}")
        if name not in _SESSION_ONLY and value not in (None, False):
            words.append(flag(name) if value is True else f"{flag(name)}={value}")
    here = config.invocation_params.dir
    if config.rootpath == here:
        return Typed(tuple(words))
    try:
        root = Path(os.path.relpath(config.rootpath, here))
    except ValueError:  # on another drive
        root = config.rootpath
    return Typed(tuple(words), f"{root.as_posix()}/")


def _refuse_silent_loosening(settings: Settings, where: str) -> None:
    if settings.reason is not None and not settings.tolerance:
        raise OptionError(
            f"{where}: the marker's reason {settings.reason!r} explains no tolerance. Give both, or none."
        )
    if not settings.tolerance or settings.reason is not None:
        return
    from pytest_diffbench.judge.output.loosening import looser_than_default

    if looser := looser_than_default(settings.tolerance):
        changes = ", ".join(f"{name} {default:g} -> {value:g}" for name, default, value in looser)
        raise OptionError(
            f"{where}: the marker loosens thresholds of output ({changes}) without a reason. Add reason='...', "
            "which is kept in the baseline's history."
        )


def _candidates(config: pytest.Config, marker: Mapping[str, Any], name: str, sources: str) -> list[tuple[str, Any]]:
    candidates: list[tuple[str, Any]] = []
    if "c" in sources:
        # A switch that isn't given is False, which must not hide the ini file's value. An empty text was given: by a
        # variable that isn't set, or a command that failed.
        given = config.getoption(f"diffbench_{name}")
        candidates.append((flag(name), None if given is False else given))
    if "m" in sources:
        candidates.append(("marker", _unless_empty(marker.get(name))))
    if "i" in sources:
        candidates.append((f"diffbench_{name} in {config.inipath or 'the ini file'}", _in_ini(config, name)))
    return candidates


def _in_ini(config: pytest.Config, name: str) -> Any:
    """What the ini file says of a setting; None where it says nothing.

    Raises:
        OptionError: pytest itself, which reads the switches, can't make anything of it.
    """
    import pytest  # every session has it, and the command `diffbench` goes without

    key = f"diffbench_{name}"
    try:
        return _unless_empty(config.getini(key))
    except (ValueError, TypeError, pytest.UsageError) as error:
        if str(error).endswith("''"):
            return None  # a switch with an empty text; pytest ends with what it read
        what = "true or false" if _SETTINGS[name].type == "bool" else "a text in quotation marks"
        raise OptionError(f"pytest: {key} in {config.inipath or 'the ini file'} is {what} ({error}).") from None


def _unless_empty(value: Any) -> Any:
    """None for an empty text, which is a way to leave out an argument or a key."""
    return None if isinstance(value, str) and not value else value


def _expanded(path: str) -> Path:
    """A path with the home folder in place of `~`. Raises ValueError where there is none of that name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError("is a path that starts at a folder, or at a user's home that is known") from None


def folder(config: pytest.Config, path: str) -> Path:
    """The path of a setting; the default one starts at pytest's root folder."""
    return (config.rootpath / path).resolve()


def _base(config: pytest.Config, label: str) -> Path:
    if label.startswith("--"):
        return config.invocation_params.dir
    # Of a marker the root folder: a further process has it in common with its session, and may have a stand-in for an
    # ini file that isn't there.
    return config.inipath.parent if label != "marker" and config.inipath is not None else config.rootpath
