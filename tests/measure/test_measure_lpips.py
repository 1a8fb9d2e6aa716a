"""LPIPS against torchmetrics' own, and what its weights may be; those here are random ones."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import image_damages as damage
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pytest_diffbench.errors import OptionError
from pytest_diffbench.measure.lpips import LEAST_PX, Lpips
from pytest_diffbench.outputs.metrics import ImagePair
from pytest_diffbench.session.extra_metrics import lpips_of_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


def backbone_weights(prefix: str = "features.") -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for layer, shape in SHAPES.items():
        spread = (shape[1] * shape[2] * shape[3]) ** -0.5
        weights[f"{prefix}{layer}.weight"] = torch.randn(shape, generator=generator) * spread
        weights[f"{prefix}{layer}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return weights


def head_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        f"lin{number}.model.1.weight": torch.rand((1, shape[0], 1, 1), generator=generator)
        for number, shape in enumerate(SHAPES.values())
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A backbone and linear layers."""
    folder = tmp_path_factory.mktemp("lpips")
    torch.save(backbone_weights(), folder / "alexnet.pth")
    torch.save(head_weights(), folder / "alex.pth")
    return folder / "alexnet.pth", folder / "alex.pth"


@pytest.fixture(scope="module")
def lpips(files: tuple[Path, Path]) -> Lpips:
    return Lpips(*files)


def pair(deviation: float = 20) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    image = damage.photograph(128)[:96]
    return image, damage.noise(deviation)(image)


def test_lpips_equals_torchmetrics_lpips(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = pytest.importorskip("torchmetrics.functional.image.lpips", reason="needs the extra lpips")
    shipped = Path(oracle.__file__).parent / "lpips_models" / "alex.pth"
    layers: list[Any] = []
    for layer, (stride, padding) in {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}.items():
        if layer in (3, 6):
            layers.append(torch.nn.MaxPool2d(3, 2))
        out, before, side, _ = SHAPES[layer]
        layers += [torch.nn.Conv2d(before, out, side, stride, padding), torch.nn.ReLU()]
    features = torch.nn.Sequential(*layers)
    features.load_state_dict(backbone_weights(""))
    # torchvision, which it would take them from, isn't needed otherwise
    monkeypatch.setattr(oracle, "_get_tv_model_features", lambda *_: features)
    reference = oracle._NoTrainLpips(net="alex", pnet_rand=True)
    for deviation in (1, 20):
        images = pair(deviation)
        tensors = [torch.tensor(image).permute(2, 0, 1)[None].float() / 255 for image in images]
        expected = float(reference(*tensors, normalize=True))
        assert Lpips(files[0], shipped)(*images) == pytest.approx(expected, rel=1e-4)


def test_equal_images_are_0_and_more_noise_is_more(lpips: Lpips) -> None:
    image, _ = pair()
    assert lpips(image, image) == 0
    distances = [lpips(image, pair(deviation)[1]) for deviation in (2, 8, 32)]
    assert distances == sorted(distances)
    assert distances[0] > 0


def test_lpips_is_symmetric(lpips: Lpips) -> None:
    image, noisy = pair()
    assert lpips(image, noisy) == pytest.approx(lpips(noisy, image))


@pytest.mark.parametrize("shape", [(1, 1), (5, 90), (63, 64, 1), (40, 30, 4)])
def test_images_of_any_size_and_mode_are_accepted(lpips: Lpips, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    measure = lpips_of_images(lpips).measure
    assert measure is not None
    assert measure(ImagePair(image, image)).value == 0
    assert measure(ImagePair(image, 255 - image)).value > 0


def test_lpips_takes_bytes_of_rgb_alone(lpips: Lpips) -> None:
    image, noisy = pair()
    for wrong in (image / 255, image[:, :, 0], image[: LEAST_PX - 1], image.transpose(2, 0, 1)):
        with pytest.raises(ValueError, match="LPIPS takes uint8 RGB"):
            lpips(wrong, wrong)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ValueError, match="can't be compared"):
        lpips(image, noisy[:80])


def test_the_state_of_torch_neither_matters_nor_changes(files: tuple[Path, Path], lpips: Lpips) -> None:
    image, noisy = pair()
    usual, state = lpips(image, noisy), torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.device("meta"):
            assert Lpips(*files)(image, noisy) == usual
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["bare.pth", "whole.safetensors", "half.pth"])
def test_a_backbone_in_a_different_form(name: str, files: tuple[Path, Path], lpips: Lpips, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "bare.pth":
        torch.save(backbone_weights(""), path)
    elif name == "half.pth":
        torch.save({key: weights.half() for key, weights in backbone_weights().items()}, path)
    else:
        save_file(backbone_weights() | {"classifier.1.weight": torch.zeros(1)}, path)
    exact = 1e-3 if name == "half.pth" else 1e-12
    assert Lpips(path, files[1])(*pair()) == pytest.approx(lpips(*pair()), rel=exact)


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harmed"),))


def bad_weights(kind: str, path: Path) -> None:
    if kind == "not there":
        return
    if kind == "no weights":
        path.write_text("hello")
    elif kind == "code":
        path.write_bytes(pickle.dumps(Harm(), protocol=2))
    elif kind == "code in an archive":
        torch.save(Harm(), path)
    elif kind == "a list":
        torch.save([torch.zeros(1)], path)
    elif kind == "another model":
        torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    elif kind == "a layer short":
        torch.save({name: weights for name, weights in backbone_weights().items() if ".8." not in name}, path)
    elif kind == "NaN":
        torch.save(backbone_weights() | {"features.3.bias": torch.full((192,), torch.nan)}, path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("not there", "no weights for LPIPS: FileNotFoundError"),
        ("no weights", "no weights for LPIPS"),
        ("code", "no weights for LPIPS"),
        ("code in an archive", "no weights for LPIPS"),
        ("a list", "expected a state dict, it holds list"),
        ("another model", "features.0.weight has shape (64, 3, 3, 3), expected (64, 3, 11, 11)"),
        ("a layer short", "features.8.weight is missing"),
        ("NaN", "features.3.bias holds NaN or infinity"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_wrong_backbone_is_refused_and_no_code_within_runs(
    kind: str, words: str, suffix: str, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"backbone{suffix}"
    bad_weights(kind, path)
    with pytest.raises(OptionError) as raised:
        Lpips(path, files[1])
    assert str(raised.value).startswith(f"{path}: ")
    if suffix == ".pth":
        assert words in str(raised.value)
    assert not (tmp_path / "harmed").exists()
