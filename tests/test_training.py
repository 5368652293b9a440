"""The training loop: against a loop written out, killed and taken up again, and what it says of mistakes."""

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils import training
from course_utils.errors import CourseError
from course_utils.store import Store
from course_utils.training import constant, minibatches, sgd, train, warm_cosine

X = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3


def network(seed=0):
    """Random numbers in training (dropout), statistics that move (batch normalization), and a buffer."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))


def batches(rng):
    return ((X[i], Y[i]) for i in minibatches(len(X), 16, rng))


def loss_of(model, batch):
    return F.mse_loss(model(batch[0]), batch[1])


def fit(model, **changed):
    how = {"steps": 4, "epochs": 3, "optimizer": sgd(0.05), "schedule": warm_cosine} | changed
    return train(model, batches, loss_of, **how)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(training, "KEEP_EVERY", 0.0)


def test_minibatches_hold_every_number_once():
    parts = list(minibatches(50, 16, np.random.default_rng(1)))
    assert [len(part) for part in parts] == [16, 16, 16, 2]
    assert sorted(np.concatenate(parts).tolist()) == list(range(50))


def test_a_loop_written_out_learns_the_same():
    model, plain = network(), network()
    history = fit(model, schedule=constant)
    weights = [p for p in plain.parameters() if p.ndim > 1]
    others = [p for p in plain.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD([{"params": weights, "weight_decay": 5e-4}, {"params": others}], lr=0.05, momentum=0.9)
    means = []
    for epoch in range(3):
        torch.manual_seed(int(np.random.default_rng([0, epoch, 1]).integers(2**63)))
        plain.train()
        losses = []
        for x, y in batches(np.random.default_rng([0, epoch])):
            loss = loss_of(plain, (x, y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(np.mean(losses))
    assert same(model, plain)
    assert history["loss"] == pytest.approx(means)
    assert not model.training


def test_it_finds_the_least_squares_solution():
    model = nn.Linear(3, 1)
    fit(model, epochs=200, optimizer=sgd(0.1, weight_decay=0.0))
    a = np.linalg.lstsq(np.c_[X.numpy(), np.ones(len(X))], Y.numpy(), rcond=None)[0].ravel()
    np.testing.assert_allclose(np.r_[model.weight.detach().numpy().ravel(), model.bias.item()], a, atol=1e-3)


def test_the_schedule_sets_the_rate_of_every_step():
    class Watched(torch.optim.SGD):
        rates: list[float] = []  # noqa: RUF012

        def step(self, closure=None):
            self.rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    fit(network(), optimizer=lambda p: Watched(p, 0.2))
    assert Watched.rates == pytest.approx([0.2 * warm_cosine(k / 12) for k in range(12)])
    assert warm_cosine(0.0) == 0 and warm_cosine(0.05) == pytest.approx(0.5)
    assert warm_cosine(0.1) == pytest.approx(1) and warm_cosine(1) == pytest.approx(0)


def test_several_losses_are_added_and_told_apart():
    def two(model, batch):
        return {"fit": loss_of(model, batch), "size": 0.1 * model[0].weight.square().sum()}

    def one(model, batch):
        return sum(two(model, batch).values())

    model, again = network(), network()
    history = train(model, batches, two, steps=4, epochs=2, optimizer=sgd(0.05))
    assert history["loss"] == train(again, batches, one, steps=4, epochs=2, optimizer=sgd(0.05))["loss"]
    assert set(history) == {"fit", "size", "loss"} and same(model, again)
    assert history["loss"] == pytest.approx([a + b for a, b in zip(history["fit"], history["size"])])


def test_seed_decides_and_the_callers_random_numbers_go_on():
    first, second, third = network(), network(), network()
    torch.manual_seed(5)
    fit(first)
    after = torch.rand(1)
    fit(second)
    fit(third, seed=1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert same(first, second) and not same(first, third)


def test_what_is_frozen_stays():
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    fit(model)
    assert torch.equal(model[0].weight, before)
    with pytest.raises(CourseError, match="nothing to train"):
        fit(model.requires_grad_(False))


def test_gradients_are_cut_to_the_norm():
    model, plain = nn.Linear(3, 1), nn.Linear(3, 1)
    plain.load_state_dict(model.state_dict())
    before = torch.cat([p.detach().ravel() for p in model.parameters()])
    train(
        model, lambda rng: [(X, 1000 * Y)], loss_of, steps=1, epochs=1, clip=0.5,
        optimizer=sgd(1.0, momentum=0.0, weight_decay=0.0),
    )  # fmt: skip
    after = torch.cat([p.detach().ravel() for p in model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("steps, told", [(3, "more"), (5, "gave 4")])
def test_another_number_of_batches_is_an_error(steps, told):
    with pytest.raises(CourseError, match=f"to have {steps} batches.*{told}"):
        fit(network(), steps=steps)


def test_a_loss_that_explodes_is_an_error():
    with pytest.raises(CourseError, match=r"no number any more in epoch 1.*smaller learning rate"):
        fit(network(), optimizer=sgd(1e30), schedule=constant)


def test_a_finished_training_is_recalled():
    model, again = network(), network(seed=3)
    history = fit(model, key="done")

    def none(rng):
        raise AssertionError("trained again")

    assert train(again, none, loss_of, steps=4, epochs=3, optimizer=sgd(0.05), key="done") == history
    assert same(model, again)


@pytest.mark.parametrize("optimizer", [sgd(0.05), lambda p: torch.optim.AdamW(p, 0.01), sgd(0.05, momentum=0.0)])
def test_stopped_after_an_epoch_it_ends_as_if_it_had_run_through(optimizer):
    class Stopped(Exception):
        pass

    def stop(done):
        if done == 4:
            raise Stopped

    whole, half, rest = network(), network(), network(seed=9)
    history = fit(whole, epochs=6, optimizer=optimizer)
    with pytest.raises(Stopped):
        fit(half, epochs=6, optimizer=optimizer, key="k", each_epoch=stop)
    assert list(Store().unfinished("training")) == [("training", "k", 1)]
    seen = []
    again = fit(rest, epochs=6, optimizer=optimizer, key="k", each_epoch=seen.append)
    assert seen == [4, 5, 6]  # epoch 3 was the last with a checkpoint
    assert again == history and same(whole, rest)
    assert not list(Store().unfinished("training"))


SCRIPT = """
import sys, time, torch
sys.path.insert(0, {tests!r})
import test_training as t
t.training.KEEP_EVERY = 0.0
model = t.network()
def wait(done):
    print(done, flush=True)
    time.sleep({pause})
t.fit(model, epochs=8, key="k", each_epoch=wait)
torch.save(model.state_dict(), {out!r})
"""


def test_killed_and_started_again_it_ends_with_the_same_bytes(tmp_path):
    def start(folder, pause):
        out = tmp_path / f"{folder}.pt"
        script = SCRIPT.format(tests=os.path.dirname(__file__), pause=pause, out=str(out))
        environment = os.environ | {"COURSE_STORE": str(tmp_path / folder), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True), out

    whole, uninterrupted = start("whole", 0)
    assert whole.communicate()[0].split() == [str(k) for k in range(1, 9)]
    killed, out = start("killed", 0.2)
    for line in killed.stdout:
        if line.strip() == "4":
            break
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.stdout.close()
    assert not out.exists()
    again, out = start("killed", 0)
    epochs = [int(word) for word in again.communicate()[0].split()]
    assert 1 < epochs[0] <= 5 and epochs[-1] == 8
    first, second = torch.load(uninterrupted, weights_only=True), torch.load(out, weights_only=True)
    assert all(torch.equal(first[name], second[name]) for name in first)
    stored = [next((tmp_path / folder / "training").glob("*.safetensors")) for folder in ("whole", "killed")]
    assert stored[0].read_bytes() == stored[1].read_bytes()


def test_a_damaged_checkpoint_is_not_used(capsys):
    def stop(done):
        if done == 3:
            raise KeyboardInterrupt

    whole, model = network(), network()
    fit(whole, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        fit(model, epochs=4, key="k", each_epoch=stop)
    part = next((Store().folder / "partial" / "training" / "k").glob("*.safetensors"))
    part.write_bytes(part.read_bytes()[:-7])
    model, seen = network(), []
    fit(model, epochs=4, key="k", each_epoch=seen.append)
    assert seen == [1, 2, 3, 4] and same(model, whole)
    assert "damaged" in capsys.readouterr().err


def test_the_duration_is_told_early_and_at_the_end(capsys, monkeypatch):
    monkeypatch.delenv("COURSE_STATIC", raising=False)
    six = [(X, Y)] * 6
    train(network(), lambda rng: six, loss_of, steps=6, epochs=2, optimizer=sgd(0.01), what="net")
    told = capsys.readouterr().err
    assert "net: 2 epochs of 6 batches, about 0 seconds." in told and told.count("about") == 2
    monkeypatch.setenv("COURSE_STATIC", "1")
    fit(network())
    assert capsys.readouterr().err == ""


def test_an_unknown_device_is_one_error():
    with pytest.raises(CourseError, match=r"no device 'gpu'.*course doctor"):
        training.check_device("gpu")
    assert training.check_device("cpu") == "cpu"


TOGETHER = """
import sys, torch
from torch import nn
sys.path.insert(0, {tests!r})
import test_training as t
with t.training.joined_processes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    history = t.train(
        model, lambda rng: [b for b in t.batches(rng) if len(b[0]) == 16], t.loss_of,
        steps=3, epochs=4, optimizer=t.sgd(0.05), key="k",
    )
    torch.save((model.state_dict(), history), {out!r} + str(t.training.processes()[0]))
"""


def test_two_processes_learn_what_one_learns(tmp_path):
    def run(folder, world):
        out = str(tmp_path / folder)
        script = TOGETHER.format(tests=os.path.dirname(__file__), out=out)
        common = {"COURSE_STORE": str(tmp_path / f"store-{folder}"), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(world)}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        running = [
            subprocess.Popen([sys.executable, "-c", script], env=os.environ | common | {"RANK": str(rank)})
            for rank in range(world)
        ]
        assert [process.wait() for process in running] == [0] * world
        return [torch.load(out + str(rank), weights_only=True) for rank in range(world)]

    [(alone, history)] = run("one", 1)
    (first, told), (second, _) = run("two", 2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-6)
    assert told["loss"] == pytest.approx(history["loss"], rel=1e-4)
