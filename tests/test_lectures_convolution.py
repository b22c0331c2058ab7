"""Group E, convolution, against torch and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import SPECS, Row, every, example

RNG = np.random.default_rng(0)


def correlate(spec) -> None:
    """One channel, one filter: SciPy's cross-correlation."""
    x, kernel = RNG.normal(size=(1, 1, 7, 6)), RNG.normal(size=(1, 1, 3, 2))
    given = spec.value("convolution", x=x, kernel=kernel, stride=1)
    agree("correlate2d", given[0, 0], scipy.signal.correlate2d(x[0, 0], kernel[0, 0], "valid"))


def volume(example: str, expected: float):
    def check(spec) -> None:
        agree(example, spec.results(example)["value"], expected)

    return check


MADE = F.conv2d(torch.zeros(1, 1, 28, 28), torch.zeros(10, 1, 3, 3)).numel()


def mean_padded(x):
    """Two rows and columns around x, by NumPy's padding with the mean."""
    around = [[np.pad(c, 2, mode="mean", stat_length=None) for c in image] for image in x.detach().numpy()]
    inner = torch.zeros(2, 3, 9, 8, dtype=torch.bool)
    inner[:, :, 2:-2, 2:-2] = True
    middle = x.mean((2, 3), keepdim=True)
    made = torch.where(inner, F.pad(x, (2, 2, 2, 2)), middle)
    assert np.allclose(made.detach().numpy()[:, :, 0, 0], middle.detach().numpy()[:, :, 0, 0])
    assert np.asarray(around).shape == tuple(made.shape)
    return made


def two_layers(d):
    lower = F.relu(F.conv2d(d.x, d.net["lower.kernel"], d.net["lower.bias"]))
    return (F.conv2d(lower, d.net["upper.kernel"], d.net["upper.bias"]) ** 2).mean()


def kernel_depth(spec) -> None:
    """20 channels, then 30: the kernels of the second layer are 20 deep, as torch's."""
    net = spec.draws("deep")
    assert net["net.upper.kernel"].shape == tuple(torch.nn.Conv2d(20, 30, 3).weight.shape) == (30, 20, 3, 3)
    given = spec.value(
        "TwoLayers.forward",
        self={k.removeprefix("net."): v for k, v in net.items() if k.startswith("net.")},
        x=net["x"],
        inputs=1,
        first=20,
        second=30,
    )
    assert given.shape == (2, 30, 4, 4)


def locally_connected(d):
    windows = F.unfold(d.x, 3, stride=2).reshape(3, 2, 3, 3, 3, 3)
    return ((torch.einsum("ncuvij,oijcuv->noij", windows, d.net.kernel) + d.net.bias) ** 2).sum()


def dense(spec) -> None:
    """The matrix is sparse, and the same product as the convolution."""
    x, kernel = RNG.normal(size=(2, 3, 6, 5)), RNG.normal(size=(4, 3, 3, 2))
    full = spec.value("as_matrix", kernel=kernel, h=6, w=5)
    assert full.shape == (4, 4, 4, 3, 6, 5) and (full != 0).sum() == 4 * 4 * 4 * 3 * 3 * 2
    made = x.reshape(2, -1) @ full.reshape(4 * 4 * 4, -1).T
    agree("as a matrix", made.reshape(2, 4, 4, 4), F.conv2d(torch.tensor(x), torch.tensor(kernel)))
    agree("the same layer", spec.value("fully_connected", x=x, full=full), made.reshape(2, 4, 4, 4))


def support(spec) -> None:
    """Two layers of 3 × 3 see 5 × 5, the place that torch's gradient has too."""
    x, first, second = RNG.normal(size=(1, 2, 8, 9)), RNG.normal(size=(3, 2, 3, 3)), RNG.normal(size=(2, 3, 3, 3))
    for column in ("numpy", "torch"):
        given = np.asarray(spec.value("receptive_field", column, x=x, first=first, second=second))
        place = torch.tensor(x, requires_grad=True)
        F.conv2d(F.conv2d(place, torch.tensor(first)), torch.tensor(second))[:, :, 1, 2].sum().backward()
        agree("gradient", given, place.grad)
        assert np.argwhere(given[0].any(0)).min(0).tolist() == [1, 2] and np.argwhere(given[0].any(0)).max(
            0
        ).tolist() == [5, 6]


def classified(d, strided: bool = False):
    p, stride = d.net, 2 if strided else 1
    pool = (lambda x: x) if strided else (lambda x: F.max_pool2d(x, 2))
    h = F.relu(pool(F.conv2d(d.image, p["conv1.kernel"], p["conv1.bias"], stride, 1)))
    h = F.relu(pool(F.conv2d(h, p["conv2.kernel"], p["conv2.bias"], stride, 1)))
    return F.cross_entropy(h.flatten(1) @ p["head.w"] + p["head.b"], d.label)


def residual(d):
    p = d.net
    f = F.conv2d(
        F.relu(F.conv2d(d.x, p["conv1.kernel"], p["conv1.bias"], 1, 1)), p["conv2.kernel"], p["conv2.bias"], 1, 1
    )
    return (F.relu(d.x + f) ** 2).sum()


def speech(d):
    window = torch.hann_window(8, dtype=torch.float64)
    power = torch.stft(d.sound, 8, 3, window=window, center=False, return_complex=True).abs() ** 2 / window.sum() ** 2
    score = F.conv2d(torch.log(power + 1e-3)[:, None], d.net.kernel[:, None, :, None])
    return F.cross_entropy(F.relu(score).amax(2).mean(2) @ d.net["head.w"] + d.net["head.b"], d.label)


def spectrum(spec) -> None:
    """The spectrum of a tone, by SciPy."""
    sound = np.sin(2 * np.pi * 0.17 * np.arange(60)) + RNG.normal(size=60) * 0.1
    given = spec.value("spectrogram", sound=sound[None], window=16, hop=4)
    _, _, z = scipy.signal.stft(sound, nperseg=16, noverlap=12, boundary=None, padded=False)
    agree("stft", given[0], np.abs(z) ** 2)


def sampled(image, theta):
    return F.grid_sample(image, F.affine_grid(theta, list(image.shape), align_corners=False), align_corners=False)


def straightened(d):
    p = d.net
    h = torch.tanh(d.image.flatten(1) @ p["look.w"] + p["look.b"])
    theta = (h @ p.w).reshape(2, 2, 3) + p.b + torch.eye(2, 3)
    return (d.c * sampled(d.image, theta)).sum()


def chains(board: np.ndarray, colour: int):
    """The connected stones of a colour, each chain with the empty points that it touches."""
    seen, size = set(), len(board)
    for start in zip(*np.where(board == colour), strict=True):
        if start in seen:
            continue
        chain, free, todo = {start}, set(), [start]
        while todo:
            i, j = todo.pop()
            for q in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if min(q) >= 0 and max(q) < size and board[q] in (0, colour) and q not in chain | free:
                    (free if board[q] == 0 else chain).add(q)
                    todo += [q] if board[q] == colour else []
        seen |= chain
        yield chain, free


def allowed(board: np.ndarray) -> np.ndarray:
    found = np.zeros(board.shape)
    for point in zip(*np.where(board == 0), strict=True):
        after = board.copy()
        after[point] = 1
        takes = any(not free for _, free in chains(after, -1))
        found[point] = takes or any(point in chain and free for chain, free in chains(after, 1))
    return found


def boards() -> np.ndarray:
    """Sparse ones, and ones so full that stones are taken and moves forbidden."""
    stones = np.sign(RNG.normal(size=(80, 5, 5)))
    return np.where(RNG.random((80, 5, 5)) < np.repeat([0.1, 0.4], 40)[:, None, None], 0, stones)


def rules(spec) -> None:
    """Life, neighbours and moves by the rules written out in NumPy."""
    given = boards()
    kernel = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    wanted = np.array([allowed(board) for board in given])
    living = np.zeros(given.shape)
    for board, marks in zip(given, living, strict=True):
        for chain, free in chains(board, 1):
            for point in chain:
                marks[point] = bool(free)
    assert (wanted != (given == 0)).sum() > 10 and (living != (given > 0)).sum() > 10
    for column in ("numpy", "torch"):
        agree("moves", spec.value("moves", column, board=given), wanted)
        agree("life", spec.value("life", column, board=given), living)
        agree(
            "neighbours",
            spec.value("beside", column, x=given),
            [scipy.signal.correlate2d(b, kernel, "same") for b in given],
        )


GO = """

def moves(board: [n, 5, 5]):
    return legal(board, 25)


def life(board: [n, 5, 5]):
    return alive(float(board > 0), float(board == 0), 25)


example probe:
    draw: [2, 5, 5] ~ uniform(-1, 1)
    return moves(draw), life(draw)
"""


def opened(d):
    """The board of the example in three planes through torch's convolutions."""
    board = torch.where(d.draw > 0.5, 1.0, torch.where(d.draw < -0.5, -1.0, 0.0)).double()
    h, p = torch.stack([board > 0, board < 0, board == 0], 1).double(), d.net
    for name in ("conv1", "conv2"):
        h = F.relu(F.conv2d(h, p[f"{name}.kernel"], p[f"{name}.bias"], padding=1))
    return board, F.conv2d(h, p["move.kernel"], p["move.bias"]).flatten(1)


def judged(d):
    board, score = opened(d)
    free = torch.tensor(np.array([allowed(b) for b in board.numpy()])).flatten(1) > 0
    return F.cross_entropy(score.masked_fill(~free, -torch.inf), free.int().argmax(1))


LAYERS, NETWORKS, BOARD = "convolution/convolution.lee", "convolution/cnn.lee", "convolution/go.lee"
ROWS = (
    Row("E1", LAYERS, "convolution", every(example("convolved", lambda d: (F.conv2d(d.x, d.net.kernel, d.net.bias, 2) ** 2).sum()), correlate)),
    Row("E1", LAYERS, "Convolution", example("convolved", lambda d: (F.conv2d(d.x, d.net.kernel, d.net.bias, 2) ** 2).sum())),
    Row("E2", LAYERS, "volume", volume("sizes", MADE)),
    Row("E2", LAYERS, "volumeAsPrinted", volume("sizes_as_printed", 25 * 25 * 3)),
    Row("E3", LAYERS, "padded_with_zero", example("zeros_around", lambda d: (F.conv2d(d.x, d.kernel, padding="same") ** 2).sum())),
    Row("E3", LAYERS, "padded_with_mean", example("mean_around", lambda d: (F.conv2d(mean_padded(d.x), d.kernel, stride=2) ** 2).sum())),
    Row("E3", LAYERS, "padded_with_edge", example("edge_around", lambda d: (F.conv2d(F.pad(d.x, (2, 2, 2, 2), "replicate"), d.kernel, stride=2) ** 2).sum())),
    Row("E4", LAYERS, "TwoLayers", every(example("deep", two_layers), kernel_depth)),
    Row("E5", LAYERS, "LocallyConnected", example("local", locally_connected)),
    Row("E6", LAYERS, "as_matrix", every(example("constrained", lambda d: (F.conv2d(d.x, d.kernel) ** 2).sum()), dense)),
    Row("E6", LAYERS, "fully_connected", every(example("constrained", lambda d: (F.conv2d(d.x, d.kernel) ** 2).sum()), dense)),
    Row("E7", LAYERS, "receptive_field", support),
    Row("E8", LAYERS, "max_pool", example("largest", lambda d: (F.max_pool2d(d.x, 2) ** 2).sum())),
    Row("E8", LAYERS, "mean_pool", example("average", lambda d: (F.avg_pool2d(d.x, 2) ** 2).sum())),
    Row("E8", LAYERS, "subsampled", example("sparse", lambda d: (d.x[:, :, ::2, ::2] ** 2).sum())),
    Row("E9", LAYERS, "flattened", example("vector", lambda d: (d.c * d.x.permute(0, 2, 3, 1).flatten(1)).sum())),
    Row("E10", NETWORKS, "Classifier", example("classified", classified)),
    Row("E11", NETWORKS, "AllConvolutional", example("strided", lambda d: classified(d, strided=True))),
    Row("E12", BOARD, "beside", rules, GO),
    Row("E12", BOARD, "alive", rules, GO),
    Row("E12", BOARD, "legal", rules, GO, spare=(("1.0", "a stone counts by its sign"),)),
    Row("E12", BOARD, "Player", example("played", lambda d: (d.c * opened(d)[1]).sum())),
    Row("E12", BOARD, "imitation", example("judged", judged)),
    Row("E13", NETWORKS, "spectrogram", every(spectrum, example("heard", speech))),
    Row("E13", NETWORKS, "SpeechNet", example("heard", speech)),
    Row("E14", NETWORKS, "affine_sample", example("turned", lambda d: (d.c * sampled(d.image, d.theta)).sum())),
    Row("E14", NETWORKS, "SpatialTransformer", example("straightened", straightened)),
    Row("E15", NETWORKS, "Residual", example("residual", residual)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)


# ---- U-Net, which is in no lecture


def wave(p, path: str, x):
    return F.relu(F.conv2d(x, p[f"{path}.kernel"], p[f"{path}.bias"], padding=1))


def unet(p, path: str, x, levels: int):
    x = wave(p, f"{path}.second", wave(p, f"{path}.first", x))
    if levels == 1:
        return x
    lower = unet(p, f"{path}.below", F.avg_pool2d(x, 2), levels - 1)
    upper = F.conv_transpose2d(lower, p[f"{path}.up.kernel"], p[f"{path}.up.bias"], stride=2)
    return wave(p, f"{path}.merged", torch.cat((x, upper), 1))


def denoised(levels: int):
    def reference(d):
        made = d.x - F.conv2d(unet(d.net, "net", d.x, levels), d.net["write.kernel"], d.net["write.bias"])
        return sum(F.mse_loss(F.avg_pool2d(made, 2**k), F.avg_pool2d(d.y, 2**k)) for k in range(levels))

    return reference


@pytest.mark.parametrize(("example", "levels"), [("shallow", 1), ("deep", 3)])
def test_a_unet_of_any_depth(example: str, levels: int) -> None:
    """A model that holds itself, and a tuple that grows."""
    Spec((SPECS / "convolution" / "unet.lee").read_text(encoding="utf-8"), "unet.lee").hold(example, denoised(levels))
