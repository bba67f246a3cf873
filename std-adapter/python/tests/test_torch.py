"""Tensors of PyTorch, and the handlers in a plain loop of PyTorch. The step `ignite` of `check` runs this file."""

from __future__ import annotations

from pathlib import Path

import pytest
import training_monitor as tm
from training_monitor.handlers import EarlyStopping, TerminateOnNan

torch = pytest.importorskip("torch")


def test_a_state_dict_is_saved_and_loaded_with_the_same_bits(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2).bfloat16())
    tm.save(tmp_path / "a.ckpt", {"net": model.state_dict(), "ema": {"weight": torch.ones(2, 3).t()}})
    loaded = tm.load(tmp_path / "a.ckpt")
    found = loaded.to_torch("net")
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        name: tensor.dtype for name, tensor in model.state_dict().items()
    }
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2).bfloat16())
    other.load_state_dict(found)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert loaded["ema.weight"].shape == (3, 2)


def test_a_loop_stops_early_and_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    def train(epochs: int) -> tuple[list[float], bool]:
        torch.manual_seed(1)
        model = torch.nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        data = torch.randn(32, 4)
        target = data.sum(1, keepdim=True)
        stopping, guard = EarlyStopping(patience=2, mode="min", threshold=1e-4, cumulative=True), TerminateOnNan()
        path, first = tmp_path / "a.ckpt", 0
        if path.exists():
            checkpoint = tm.load(path)
            model.load_state_dict(checkpoint.to_torch("model"))
            first = checkpoint.step
            state = checkpoint["stopping.progress"]
            stopping.load_state_dict(
                {"counter": int(state[0]), "best_score": float(state[1]), "threshold_mode": stopping.threshold_mode}
            )
        losses = []
        for epoch in range(first, epochs):
            optimizer.zero_grad()
            loss = ((model(data) - target) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if guard.update(loss) or stopping.update(loss.item()):
                return losses, True
            progress = [float(stopping.counter), stopping.best_score]
            tm.save(path, {"model": model.state_dict(), "stopping": {"progress": progress}}, step=epoch + 1)
        return losses, False

    undisturbed, stopped = train(1000)
    assert stopped and len(undisturbed) > 10
    (tmp_path / "a.ckpt").unlink()
    first, stopped = train(7)
    assert not stopped and len(first) == 7
    rest, stopped = train(1000)
    # The resumed loop ends with the same bits at the same epoch.
    assert stopped and first + rest == undisturbed
