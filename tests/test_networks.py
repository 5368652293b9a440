"""Backbones: cut anywhere and equal to the whole, loaded whole or not at all, and one error where that fails."""

import pickle
import re
import shutil
import zipfile
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from course_utils.bundle import write_bundle
from course_utils.errors import CourseError, DataError
from course_utils.networks import StandIn, open_backbone
from course_utils.networks.backbone import _stride
from course_utils.networks.families import parts_of, untrained
from course_utils.networks.files import downloaded_weights, load_strictly, read_weights

SMALL = "squeezenet1_1"  # 5 MB
NETWORKS = ("standin", "alexnet", SMALL, "squeezenet1_0", "resnet18", "mobilenet_v3_small")


@pytest.fixture(scope="module")
def backbones():
    """Each network once, untrained."""
    opened = {}

    def open_once(name):
        if name not in opened:
            opened[name] = open_backbone(name, random=True)
        return opened[name]

    return open_once


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    return torchvision.models.get_model(SMALL, weights=None).state_dict()


def equal(network, state):
    own = network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], state[name]) for name in own)


# ---------------------------------------------------------------------------------------------------------- stages


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_one_after_the_other_are_the_network(backbones, name):
    backbone = backbones(name)
    x = torch.randn(2, 3, backbone.input_size, backbone.input_size)
    with torch.no_grad():
        whole = backbone.network(x)
        assert torch.equal(backbone(x), whole) and whole.shape == (2, len(backbone.classes))
        for stage in backbone.stages:
            y = backbone.features(x, stage.name)
            assert y.shape[1] == stage.channels
            if stage.stride:  # without padding a map ends up to three values earlier
                assert 0 <= -(-backbone.input_size // stage.stride) - y.shape[2] <= 3
            else:
                assert y.ndim == 2
            assert torch.equal(backbone.between(y, stage.name), whole)
        first, last = backbone.stages[0].name, backbone.stages[-1].name
        assert torch.equal(backbone.between(backbone.features(x, first), first, last), backbone.features(x, last))


OTHERS = (
    "vgg11_bn", "resnext50_32x4d", "efficientnet_b0", "convnext_tiny", "densenet121", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "regnet_y_400mf", "shufflenet_v2_x0_5", "swin_t", "swin_v2_t", "vit_b_32",
)  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_families_are_cut_as_well(name):
    backbone = open_backbone(name, random=True)
    torch.manual_seed(0)
    for p in backbone.parameters():  # a vision transformer's head begins with zeros
        if p.ndim > 1 and not p.any():
            nn.init.normal_(p, std=0.1)
    size = backbone.input_size if name in ("maxvit_t", "vit_b_32") else 96  # these two take no other
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        whole = backbone.network(x)
        close = {"atol": 1e-4 * whole.std().item(), "rtol": 0}  # of deep random networks the scores differ by little
        assert whole.std() > 0
        torch.testing.assert_close(backbone(x), whole, **close)
        for stage in backbone.stages:
            y = backbone.features(x, stage.name)
            assert y.shape[1] == stage.channels and y.ndim == (4 if stage.stride else 2)
        torch.testing.assert_close(backbone.between(y, stage.name), whole, **close)
    strides = [s.stride for s in backbone.stages if s.stride]
    assert strides == sorted(strides) and strides[-1] in (16, 32)


# these decide things by numbers while they are built, which the device without numbers does not have
ON_META = [
    n for n in torchvision.models.list_models(torchvision.models) if not n.startswith(("maxvit", "regnet", "swin"))
]


@pytest.mark.parametrize("name", ON_META)
def test_every_part_of_a_classifier_of_torchvision_stands_once(name):
    size = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    with torch.device("meta"):
        network = untrained(name, size).eval()
        x = torch.zeros(1, 3, size, size)
        parts = [nn.Sequential(*part) for part in parts_of(name, network).values()]
        for part in parts:
            x = part(x)
    assert x.shape == (1, 1000)
    used = [id(p) for part in parts for p in part.parameters()]
    own = [id(p) for key, p in network.named_parameters() if not key.lower().startswith("aux")]
    assert len(used) == len(set(used)) and set(used) == set(own)


def test_a_stride_is_a_power_of_two_but_for_patches_of_14():
    for size, cells, stride in (
        (224, 13, 16),
        (227, 13, 16),
        (299, 147, 2),
        (240, 8, 32),
        (300, 10, 32),
        (518, 37, 14),
    ):
        assert _stride(size, cells) == stride


def test_a_vision_transformer_takes_one_size_only():
    backbone = open_backbone("vit_b_32", random=True)
    with pytest.raises(CourseError, match="positions for 49 patches, and the pictures have 9"):
        backbone(torch.zeros(1, 3, 96, 96))


def test_networks_of_another_normalization_get_theirs(backbones, monkeypatch):
    """inception_v3 brings it along; what the weights say of any other is read from them."""
    x = torch.randn(1, 3, 96, 96)
    pixels = x * torch.tensor([0.229, 0.224, 0.225])[:, None, None] + torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    seen = []
    inception = open_backbone("inception_v3", random=True)
    inception.network.Conv2d_1a_3x3.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    inception(x)
    usual = torchvision.models.get_model_weights(SMALL).DEFAULT.transforms
    monkeypatch.setattr(
        torchvision.models.get_model_weights(SMALL).DEFAULT.__class__, "transforms",
        property(lambda self: lambda: usual(mean=(0.5,) * 3, std=(0.5,) * 3)),
    )  # fmt: skip
    other = open_backbone(SMALL, random=True)
    other.network.features[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    other(x)
    for one in seen:
        torch.testing.assert_close(one, (pixels - 0.5) / 0.5, atol=1e-5, rtol=0)
    assert len(seen) == 2


def test_the_standin_is_cut_where_the_course_says(backbones):
    stages = backbones("standin").stages
    assert [(s.name, s.stride) for s in stages] == [
        ("conv1", 2), ("conv2", 4), ("conv3", 8), ("conv4", 8), ("conv5", 16), ("fc6", 0), ("fc7", 0)
    ]  # fmt: skip
    parameters = sum(value.numel() for value in backbones("standin").network.state_dict().values())
    assert 4 * parameters <= 6e6
    windows = backbones("standin").between(torch.randn(5, stages[4].channels, 4, 4), "conv5", "fc7")
    assert windows.shape == (5, stages[6].channels)


def test_alexnet_is_cut_between_its_layers(backbones):
    backbone, x = backbones("alexnet"), torch.randn(1, 3, 224, 224)
    net = backbone.network
    with torch.no_grad():
        conv5 = net.features[:12](x)
        assert torch.equal(backbone.features(x, "conv5"), conv5)
        fc6 = net.classifier[:3](net.avgpool(net.features[12](conv5)).flatten(1))
        assert torch.equal(backbone.features(x, "fc6"), fc6)
        assert torch.equal(backbone.features(x, "fc7"), net.classifier[3:6](fc6))


def test_unknown_stages_and_wrong_orders_are_told(backbones):
    backbone = backbones("standin")
    with pytest.raises(CourseError, match="no stage 'pool5'; its stages are conv1, conv2"):
        backbone.features(torch.zeros(1, 3, 128, 128), "pool5")
    with pytest.raises(CourseError, match="'conv2' comes before 'conv5'"):
        backbone.layers("conv5", "conv2")
    assert backbone.stage("conv3").stride == 8


# --------------------------------------------------------------------------------------------------- preprocessing


def test_preprocessing_equals_pillow_and_a_formula(backbones):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (60, 90, 3), dtype=np.uint8), rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)]
    x = backbones("standin").preprocess(images)
    assert x.shape == (2, 3, 128, 128) and x.dtype == torch.float32
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for image, got in zip(images, x):
        plain = np.asarray(Image.fromarray(image).resize((128, 128), Image.BILINEAR)) / 255
        # one step of the 8 bits may be rounded otherwise
        np.testing.assert_allclose(got.permute(1, 2, 0).numpy(), (plain - mean) / std, atol=1.01 / 255 / std.min())
    assert backbones("standin").preprocess(images, size=(64, 96)).shape == (2, 3, 64, 96)


# --------------------------------------------------------------------------------------------------- what is trained


def test_frozen_normalization_stays_as_it_is_in_training():
    backbone, other = open_backbone("resnet18", random=True), open_backbone("resnet18", random=True)
    backbone.freeze_norm().train()
    other.train()
    x = torch.randn(4, 3, 64, 64)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone(x).square().sum().backward()
    other(x)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert not torch.equal(before["network.bn1.running_mean"], other.state_dict()["network.bn1.running_mean"])
    with_gradient = {name for name, p in backbone.named_parameters() if p.grad is not None}
    assert "network.conv1.weight" in with_gradient and "network.bn1.weight" not in with_gradient
    assert backbone.network.layer1.training and not backbone.network.bn1.training


def test_freeze_ends_at_the_stage():
    backbone = open_backbone("standin", random=True).freeze("conv2")
    trained = {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"conv3", "conv4", "conv5", "fc6", "fc7", "fc8"}


def test_random_parameters_depend_on_the_seed_alone():
    torch.manual_seed(3)
    first = open_backbone("standin", random=True, seed=1)
    after = torch.rand(1)
    second = open_backbone("standin", random=True, seed=1)
    third = open_backbone("standin", random=True, seed=2)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))
    assert equal(first, second.state_dict()) and not equal(first, third.state_dict())
    assert not first.training


# ----------------------------------------------------------------------------------------------------------- files


def write_npz(state, path):
    np.savez(path.with_suffix(".npz"), **{name: value.numpy() for name, value in state.items()})
    path.with_suffix(".npz").rename(path)


def write_old(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


WRITERS = {"safetensors": save_file, "torch": torch.save, "torch before 1.6": write_old, "npz": write_npz}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_kind_of_file_whatever_its_name(state, tmp_path, writer):
    path = tmp_path / "weights"
    WRITERS[writer](state, path)
    assert equal(open_backbone(SMALL, weights=path).network, state)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("part", [0, 5, 0.01, 0.5, 0.999])
def test_a_file_cut_short_is_one_error(state, tmp_path, writer, part):
    path = tmp_path / "weights.pth"
    WRITERS[writer](state, path)
    content = path.read_bytes()
    path.write_bytes(content[: part if part == 0 or part >= 1 else int(part * len(content))])
    with pytest.raises(DataError, match=re.escape(str(path))) as caught:
        open_backbone(SMALL, weights=path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"<html><body>Not found</body></html>", b"\x00" * 4096, b"\x80\x02}q\x00." * 9])
def test_a_file_of_another_kind_is_one_error(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_weights(path)


def test_a_zip_file_of_another_kind_is_one_error(tmp_path):
    path = tmp_path / "weights.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing")
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_weights(path)


def test_missing_files_and_folders_are_told(tmp_path):
    for path in (tmp_path / "nothing.pth", tmp_path):
        with pytest.raises(DataError, match="There is no file"):
            open_backbone(SMALL, weights=path)


class Harmful:
    def __reduce__(self):
        return (exec, ("import builtins; builtins.harmed = True",))


def test_a_pickle_that_holds_more_than_tensors_is_not_run(state, tmp_path):
    import builtins

    for path, write in (
        (tmp_path / "a.pth", lambda path: torch.save(Harmful(), path)),
        (tmp_path / "b.pth", lambda path: path.write_bytes(pickle.dumps(Harmful()))),
        (tmp_path / "c.pth", lambda path: torch.save(torchvision.models.get_model(SMALL, weights=None), path)),
    ):
        write(path)
        with pytest.raises(DataError, match=r"no plain state dict.*might run code"):
            open_backbone(SMALL, weights=path)
    np.savez(tmp_path / "d.npz", a=np.array([Harmful()], dtype=object))
    with pytest.raises(DataError, match=r"d\.npz"):
        read_weights(tmp_path / "d.npz")
    assert not hasattr(builtins, "harmed")


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: list(s.values()), lambda s: {}])
def test_a_checkpoint_that_holds_more_is_told(state, tmp_path, wrap):
    torch.save(wrap(state), tmp_path / "checkpoint.pth")
    with pytest.raises(DataError, match="wanted names and tensors alone"):
        open_backbone(SMALL, weights=tmp_path / "checkpoint.pth")


def faulty(state):
    """States that do not fit, and what is said of each."""
    name = "features.0.weight"
    rest = {key: value for key, value in state.items() if key != name}
    return {
        rf"1 parameters are missing \({name}\)": rest,
        r"1 are not the network\'s \(extra.weight\)": state | {"extra.weight": torch.zeros(2)},
        rf"{name} is \(64, 3, 3, 2\) instead of \(64, 3, 3, 3\)": state | {name: state[name][..., :2].clone()},
        f"{name} has values that are no numbers": state | {name: state[name] * torch.nan},
        f"{name} is of torch.int64 instead of torch.float32": state | {name: state[name].long()},
        r"52 parameters are missing .* 52 are not the network\'s \(module\.": {
            f"module.{key}": value for key, value in state.items()
        },
    }


@pytest.mark.parametrize("number", range(6))
def test_parameters_that_do_not_fit_are_never_loaded_in_part(state, tmp_path, number):
    told, wrong = list(faulty(state).items())[number]
    path = tmp_path / "weights.safetensors"
    save_file(wrong, path)
    with pytest.raises(DataError, match=told):
        open_backbone(SMALL, weights=path)
    network = torchvision.models.get_model(SMALL, weights=None)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(DataError, match=told):
        load_strictly(network, wrong, path)
    assert equal(network, before)


def test_a_file_in_the_data_folder_is_found_by_its_name(state, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    save_file(state, tmp_path / "mine.safetensors")
    assert equal(open_backbone(SMALL, weights="mine.safetensors").network, state)
    with pytest.raises(DataError, match=r"There is no file yours\.safetensors"):
        open_backbone(SMALL, weights="yours.safetensors")


def test_another_networks_file_is_told(state, tmp_path):
    torch.save(state, tmp_path / "s.pth")
    with pytest.raises(DataError, match=r"no file of ResNet .*choose the file of this very network"):
        open_backbone("resnet18", weights=tmp_path / "s.pth")


def test_counters_of_batches_may_be_missing(tmp_path):
    state = open_backbone("resnet18", random=True).network.state_dict()
    save_file({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, tmp_path / "old")
    assert equal(open_backbone("resnet18", weights=tmp_path / "old").network, state)


def test_imagenet_weights_know_a_cat(shared):
    from skimage.data import chelsea

    weights = shared / "data" / "squeezenet_v1_0_imagenet" / "squeezenet1_0_torchvision_keys.npz"
    backbone = open_backbone("squeezenet1_0", weights=weights)
    with torch.no_grad():
        probability = backbone(backbone.preprocess([chelsea()])).softmax(1)[0]
    assert backbone.classes[int(probability.argmax())] == "Egyptian cat" and probability.max() > 0.8
    stage = backbone.stages[-1]
    assert (stage.stride, stage.channels) == (16, 512)


# ------------------------------------------------------------------------------------------- torchvision's downloads


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch" / "hub" / "checkpoints"


def no_network(*args, **kwargs):
    raise URLError("no network here")


def test_without_file_and_network_one_error_says_what_goes_where(downloads, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(CourseError) as caught:
        open_backbone("resnet18")
    told = str(caught.value)
    assert "resnet18-f37072fd.pth" in told and str(downloads) in told and "weights=" in told
    assert len(told.splitlines()) == 1


def named_weights(monkeypatch, url):
    """Weights of that address in place of torchvision's."""
    real = torchvision.models.get_model_weights(SMALL).DEFAULT
    one = type("Weights", (), {"url": url, "meta": real.meta, "transforms": real.transforms})()
    table = type("Table", (list,), {"DEFAULT": one})([one])
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: table)


def older(name):
    """A parameter's name in the files that torchvision offers for download."""
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", name)
    return re.sub(r"(encoder_layer_\d+\.mlp)\.3\.", r"\1.linear_2.", name.replace(".mlp.0.", ".mlp.linear_1."))


@pytest.mark.parametrize("name", ["densenet121", "googlenet", "mnasnet0_5", "regnet_y_400mf", "swin_t", "vit_b_32"])
def test_whole_files_of_every_kind_of_network_are_loaded(name, tmp_path):
    state = open_backbone(name, random=True, seed=1).network.state_dict()
    save_file({older(key): value.clone() for key, value in state.items()}, tmp_path / "weights")
    if name in ("densenet121", "vit_b_32"):
        assert set(map(older, state)) != set(state)
    assert equal(open_backbone(name, weights=tmp_path / "weights").network, state)
    save_file({key: value.clone() for key, value in state.items()}, tmp_path / "weights")
    assert equal(open_backbone(name, weights=tmp_path / "weights").network, state)


def test_of_several_sets_those_for_the_same_pictures_are_taken(downloads, monkeypatch):
    """regnet_y_16gf has one for pictures of 384 px, vgg16 one with another normalization."""
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    downloads.mkdir(parents=True)
    for name, other in (("regnet_y_16gf", "IMAGENET1K_SWAG_E2E_V1"), ("vgg16", "IMAGENET1K_FEATURES")):
        weights = torchvision.models.get_model_weights(name)[other]
        (downloads / weights.url.rsplit("/", 1)[1]).write_bytes(b"parameters")
        with pytest.raises(CourseError, match=rf"pretrained parameters of {name} are not on this machine"):
            downloaded_weights(name)


def test_a_downloaded_file_is_used_if_its_hash_is_right(downloads, monkeypatch, state, tmp_path):
    import hashlib

    torch.save(state, tmp_path / "made.pth")
    name = f"net-{hashlib.sha256((tmp_path / 'made.pth').read_bytes()).hexdigest()[:8]}.pth"
    named_weights(monkeypatch, f"https://example.org/{name}")
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    downloads.mkdir(parents=True)
    shutil.copy(tmp_path / "made.pth", downloads / name)
    assert equal(open_backbone(SMALL).network, state)
    content = bytearray((downloads / name).read_bytes())
    content[len(content) // 2] ^= 1
    (downloads / name).write_bytes(content)
    with pytest.raises(DataError, match=r"damaged: its SHA-256"):
        open_backbone(SMALL)


# ------------------------------------------------------------------------------------------------------ names, stand-in


def test_unknown_names_are_told():
    with pytest.raises(CourseError, match=r"no network 'resnet19'.*resnet18"):
        open_backbone("resnet19")
    with pytest.raises(CourseError, match=r"where to cut newnet5. .*alexnet, convnext"):
        parts_of("newnet5", nn.Sequential())
    with pytest.raises(CourseError, match="takes no weights"):
        open_backbone("resnet18", random=True, weights="x")


def save_standin(path, network, **changed):
    write_bundle(path, network.state_dict(), {"system": "standin", "classes": ["a", "b", "c"]} | changed)


def test_a_standin_of_ones_own_is_opened_by_its_file(tmp_path):
    network = StandIn(3)
    nn.init.normal_(network.fc8.weight)
    save_standin(tmp_path / "own.safetensors", network)
    backbone = open_backbone(tmp_path / "own.safetensors")
    assert backbone.classes == ("a", "b", "c") and equal(backbone.network, network.state_dict())


def test_files_that_are_no_standin_are_told(tmp_path, state):
    path = tmp_path / "own.safetensors"
    with pytest.raises(DataError, match="There is no file"):
        open_backbone(path)
    save_standin(path, StandIn(3), system="hog_svm")
    with pytest.raises(DataError, match="holds no stand-in"):
        open_backbone(path)
    save_standin(path, StandIn(4))
    with pytest.raises(DataError, match=r"fc8.*instead of \(3"):
        open_backbone(path)
    save_file(state, path)
    with pytest.raises(DataError, match="no file of tensors written by this course"):
        open_backbone(path)
    save_standin(path, StandIn(3))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged"):
        open_backbone(path)
