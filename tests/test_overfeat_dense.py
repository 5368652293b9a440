"""Dense evaluation: against loops over crops, unfold, gradients, dilated convolutions and closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d, max_pool2d

from course_utils.errors import DataError
from course_utils.overfeat.dense import (
    PAPER_SIZES,
    Geometry,
    crops,
    flops,
    geometry,
    interleave,
    linear_as_conv,
    new_cells,
    offset_pool,
    paper_network,
    pixel_ratio,
    side_after,
    to_conv,
    windows_along,
)


def random_network(seed, padding=0):
    """A classifier of 3 to 5 layers without padding, its window and stride, in double precision."""
    generator = torch.Generator().manual_seed(seed)

    def one_of(*values):
        return values[int(torch.randint(len(values), (1,), generator=generator))]

    conv1, pool, conv2 = (one_of(1, 3, 5), one_of(1, 2)), one_of(2, 3), one_of(1, 2, 3)
    after = one_of(2, 3)  # cells in a row that the first fully connected layer sees
    side = conv1[0] + conv1[1] * (pool * (after + conv2 - 1) - 1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 4, *conv1, padding=padding), nn.ReLU(), nn.MaxPool2d(pool), nn.Conv2d(4, 5, conv2),
            nn.BatchNorm2d(5), nn.LeakyReLU(), nn.Flatten(), nn.Linear(5 * after**2, 7), nn.ReLU(), nn.Dropout(),
            nn.Linear(7, 3, bias=seed % 2 == 0),
        )  # fmt: skip
        network[4].running_mean.normal_()
        network[4].running_var.uniform_(0.5, 2)
    return network.double().eval(), side, conv1[1] * pool


def picture(height, width, seed=0):
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------------------------------------------- FC as convolution


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), more=st.tuples(st.integers(0, 14), st.integers(0, 14)))
def test_dense_equals_crop_by_crop(seed, more):
    network, side, stride = random_network(seed)
    image = picture(side + more[0], side + more[1], seed)
    dense = to_conv(network, side)
    with torch.no_grad():
        found = dense(image[None])[0]
        rows, columns = found.shape[1:]
        assert (rows, columns) == (more[0] // stride + 1, more[1] // stride + 1)
        for i in range(rows):
            for j in range(columns):
                crop = image[:, i * stride : i * stride + side, j * stride : j * stride + side]
                assert (found[:, i, j] - network(crop[None])[0]).abs().max() < 1e-12
    assert geometry(dense) == Geometry(side, stride, 0)


def test_padding_makes_a_difference():
    network, side, stride = random_network(3, padding=1)
    side -= 2
    image = picture(side + 3 * stride, side + 3 * stride)
    with torch.no_grad():
        found = to_conv(network, side)(image[None])[0, :, 0, 0]
        assert (found - network(image[None, :, :side, :side])[0]).abs().max() > 1e-3


def test_parameters_are_shared_and_none_is_lost():
    network, side, _ = random_network(0)
    dense = to_conv(network, side)
    assert sum(p.numel() for p in dense.parameters()) == sum(p.numel() for p in network.parameters())
    before = dense(picture(side, side)[None])
    with torch.no_grad():
        network[7].weight.mul_(2)
        network[-1].bias.add_(5)
    after = dense(picture(side, side)[None])
    assert torch.allclose(after.flatten(), network(picture(side, side)[None]).flatten())
    assert not torch.allclose(before, after)
    assert not dense.training and to_conv(network.train(), side).training


def test_kernel_is_in_flatten_order():
    linear = nn.Linear(2 * 3 * 3, 1, bias=False)
    with torch.no_grad():
        linear.weight.zero_()
        linear.weight[0, 1 * 9 + 2 * 3 + 0] = 1  # channel 1, row 2, column 0
    conv = linear_as_conv(linear, 2, 3)
    assert conv.bias is None and conv.weight.nonzero().tolist() == [[0, 1, 2, 0]]
    with pytest.raises(DataError, match="takes 18 numbers, but a map of 2 x 4 x 4 has 32"):
        linear_as_conv(linear, 2, 4)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm1d(4), "BatchNorm1d has no dense form"),
        (nn.AdaptiveAvgPool2d(1), "AdaptiveAvgPool2d has no dense form"),
        (nn.Conv2d(3, 4, (3, 5)), "same kernel_size in x and y"),
        (nn.Conv2d(3, 4, 3, padding="same"), "same padding in x and y, in pixels"),
        (nn.MaxPool2d(2, ceil_mode=True), "ceil_mode"),
    ],
)
def test_layers_without_dense_form_are_named(layer, message):
    with pytest.raises(DataError, match=message):
        to_conv(nn.Sequential(layer, nn.Flatten(), nn.Linear(4, 2)), 8)


# ------------------------------------------------------------------------------------------------------- arithmetic


@settings(max_examples=25, deadline=None)
@given(
    layers=st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), min_size=1, max_size=4
    )
)
def test_geometry_is_where_the_gradient_is_not_zero(layers):
    """What an output sees, from back-propagation; and the sides, from torch's own maps."""
    modules = [nn.Conv2d(1, 1, k, s, p, dilation=d, bias=False).double() for k, s, p, d in layers]
    for module in modules:
        nn.init.uniform_(module.weight, 0.5, 1.0)
    window, stride, start = geometry(modules)
    length = window + 6 * stride
    x, side = torch.zeros(1, 1, length, length, dtype=torch.float64, requires_grad=True), length
    out = x
    for module in modules:
        out, side = module(out), side_after(module, side)
        assert out.shape[-1] == side
    i = -(start // stride)  # the first output whose window does not begin before the picture
    assert 0 <= start + i * stride < stride
    out[0, 0, i, i + 1].backward()
    rows, columns = (x.grad[0, 0].abs().sum(axis).nonzero()[:, 0] for axis in (1, 0))
    assert (rows[0], rows[-1] + 1) == (start + i * stride, start + i * stride + window)
    assert columns[0] == start + (i + 1) * stride


def test_windows_and_crops():
    for side in range(8, 40):
        wanted = [x for x in range(side) if x % 3 == 0 and x + 8 <= side]
        assert windows_along(side, 8, 3) == len(wanted)
    assert windows_along(7, 8, 3) == 0
    image = picture(17, 14)
    found = crops(image, 8, 3)
    assert found.shape == (4, 3, 3, 8, 8)
    assert torch.equal(found[3, 1], image[:, 9:17, 3:11])
    with pytest.raises(DataError, match="7 x 14 px has no window of 8 px"):
        crops(image[:, :7], 8, 3)


def test_paper_sizes_and_ratio():
    """The table of the paper's scales: map before pooling, pooled, windows of one offset and of all nine."""
    dense = to_conv(paper_network(device="meta"), 221)
    last_pool = max(i for i, layer in enumerate(dense) if isinstance(layer, nn.MaxPool2d))
    trunk = dense[:last_pool]
    wanted = {
        (245, 245): ((17, 17), (5, 5), (1, 1)),
        (281, 317): ((20, 23), (6, 7), (2, 3)),
        (317, 389): ((23, 29), (7, 9), (3, 5)),
        (389, 461): ((29, 35), (9, 11), (5, 7)),
        (425, 497): ((32, 38), (10, 12), (6, 8)),
        (461, 569): ((35, 44), (11, 14), (7, 10)),
    }
    assert set(wanted) == set(PAPER_SIZES)
    for size, (before, pooled, windows) in wanted.items():
        x = trunk(torch.zeros(1, 3, *size, device="meta"))
        maps = [[dense[last_pool + 1 :](one) for one in row] for row in offset_pool(x, 3, least=5)]
        assert x.shape == (1, 1024, *before) and max_pool2d(x, 3).shape[2:] == pooled
        assert all(one.shape == (1, 1000, *windows) for row in maps for one in row)
        assert interleave(maps, 3).shape[2:] == (3 * windows[0], 3 * windows[1])
        assert windows == tuple(windows_along(side, 221, 36) for side in size)
    assert dense(torch.zeros(1, 3, 257, 257, device="meta")).shape[2:] == (2, 2)
    assert sum(p.numel() for p in dense[last_pool:].parameters()) == 25 * 1024 * 4096 + 4096 * 5096 + 9192
    assert pixel_ratio(461, 569, 221, 36) == pytest.approx(70 * 221**2 / (461 * 569))
    assert pixel_ratio(257, 257, 221, 36) == pytest.approx(2.96, abs=0.005)


def test_flops_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(100, 6))
    wanted = 2 * (10 * 10 * 4 * 3 * 25 + 100 * 6)
    assert flops(network, 1, 3, 14, 14) == wanted and flops(network.to("meta"), 1, 3, 14, 14) == wanted
    dense = 2 * (12 * 12 * 4 * 3 * 25 + 2 * 2 * 100 * 6)
    assert flops(to_conv(network, 14), 1, 3, 16, 16) == dense


# ---------------------------------------------------------------------------------------------------------- offsets


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 4), least=st.integers(1, 3), more=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_offsets_equal_stride_one_and_a_dilated_layer(size, least, more):
    """Nine poolings and an ordinary layer are one pooling with stride 1 and a layer with holes."""
    x = torch.randn(2, 3, size * least + more[0], size * least + more[1], dtype=torch.float64)
    weight = torch.randn(4, 3, least, least, dtype=torch.float64)
    maps = [[conv2d(one, weight) for one in row] for row in offset_pool(x, size, least)]
    wanted = conv2d(max_pool2d(x, size, stride=1), weight, dilation=size)
    found = interleave(maps, size)
    assert found.shape == wanted.shape and (found - wanted).abs().max() < 1e-12


def test_offset_pool_against_unfold():
    x = picture(11, 13)[None]
    maps = offset_pool(x, 3)
    assert len(maps) == 3 and all(len(row) == 3 for row in maps)
    for dy in range(3):
        for dx in range(3):
            groups = x[:, :, dy:, dx:].unfold(2, 3, 3).unfold(3, 3, 3)
            assert torch.equal(maps[dy][dx], groups.amax((4, 5)))


def test_interleaved_map_is_the_network_on_shifted_pictures():
    network, side, _ = random_network(8)
    dense = to_conv(network, side)
    pool = next(i for i, layer in enumerate(dense) if isinstance(layer, nn.MaxPool2d))
    size, jump = dense[pool].kernel_size, dense[0].stride[0]
    rest, least = dense[pool + 1 :], geometry(dense[pool + 1 :]).window
    image = picture(side + 20, side + 15)[None]
    with torch.no_grad():
        maps = [[rest(one) for one in row] for row in offset_pool(dense[:pool](image), size, least)]
        fine = interleave(maps, size)
        for dy in range(size):
            for dx in range(size):
                shifted = dense(image[:, :, dy * jump :, dx * jump :])
                assert (fine[:, :, dy::size, dx::size] - shifted).abs().max() < 1e-12
    assert fine.shape[2:] == (20 // jump + 1, 15 // jump + 1)


def test_small_maps_leave_offsets_out_or_are_refused():
    maps = offset_pool(picture(16, 15)[None], 3, least=5)
    assert [len(row) for row in maps] == [1, 1]
    weight = torch.ones(1, 3, 5, 5, dtype=torch.float64)
    assert interleave([[conv2d(one, weight) for one in row] for row in maps], 3).shape[2:] == (2, 1)
    with pytest.raises(DataError, match="14 cells wide or high has no 5 groups of 3"):
        offset_pool(picture(14, 15)[None], 3, least=5)


# -------------------------------------------------------------------------------------------------- the yellow cells


def test_extra_cells_of_the_lectures_picture():
    """14 px become 16: each map grows, and all that the first window computed is used again."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(100, 6), nn.ReLU(), nn.Linear(6, 3)
    ).double()
    dense = to_conv(network, 14)
    found = new_cells(dense, picture(16, 16)[None], 14)
    sides = [16, 12, 12, 6, 2, 2, 2]
    old = [14, 10, 10, 5, 1, 1, 1]
    for new, side, before in zip(found, sides, old, strict=True):
        wanted = torch.ones(side, side, dtype=torch.bool)
        wanted[:before, :before] = False
        assert torch.equal(new, wanted)


def test_with_padding_cells_at_the_seam_are_new_too():
    new = new_cells([nn.Conv2d(3, 4, 3, padding=1).double()], picture(8, 8)[None], 6)[1]
    wanted = torch.ones(8, 8, dtype=torch.bool)
    wanted[:5, :5] = False
    assert torch.equal(new, wanted)
