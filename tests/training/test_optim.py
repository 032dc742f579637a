import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from speech.errors import SpeechError
from speech.models.aed import AED
from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
from speech.training.aed_task import AEDTask
from speech.training.average import average_checkpoints, average_states
from speech.training.checkpoint import FolderCheckpointIO
from speech.training.config import AEDRecipe, OptimConfig
from speech.training.optim import freeze, lr_factor, make_optimizer

SIZE = dict(d_model=16, n_layers=1, n_heads=2, d_ff=32)


def tiny(seed: int) -> AED:
    torch.manual_seed(seed)
    encoder = EncoderConfig(**SIZE, subsampling_channels=4, conv_kernel=3, qkv_norm=True, conv_norm="batch")
    return AED(AEDConfig(FrontendConfig(sample_rate=8000, n_mels=20), encoder, DecoderConfig(**SIZE)), 11)


@pytest.mark.parametrize(
    "schedule, step, factor",
    [("cosine", 0, 1 / 4), ("cosine", 2, 3 / 4), ("cosine", 3, 1.0), ("cosine", 4, 1.0)]
    + [("cosine", 7, 0.75), ("cosine", 10, 0.25), ("cosine", 13, 0.0), ("cosine", 99, 0.0)]  # 60, 120, 180 degrees
    + [("inverse_sqrt", 0, 1 / 4), ("inverse_sqrt", 3, 1.0), ("inverse_sqrt", 15, 0.5), ("inverse_sqrt", 99, 0.2)],
)
def test_learning_rate_by_hand(schedule, step, factor):
    assert lr_factor(step, 4, 13, schedule) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "inverse_sqrt"])
def test_no_warmup_starts_at_the_peak(schedule):
    assert lr_factor(0, 0, 10, schedule) == 1.0


def test_the_optimiser_follows_the_schedule():
    made = make_optimizer(nn.Linear(2, 2), OptimConfig(lr=0.1, warmup_steps=2), 10)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.05, 0.1, 0.1])


def test_every_parameter_is_in_one_group_and_only_matrices_decay():
    model = tiny(0)
    config = OptimConfig(weight_decay=0.3, betas=(0.8, 0.9))
    optimizer = make_optimizer(model, config, 10)["optimizer"]
    members = [(id(p), group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(i for i, _ in members) == sorted(id(p) for p in model.parameters())
    decay = dict(members)
    named = {name: decay[id(p)] for name, p in model.named_parameters()}
    assert {name for name, d in named.items() if d == 0.0} == {n for n, p in model.named_parameters() if p.ndim == 1}
    assert named["decoder.embed.weight"] == 0.3 and named["decoder.norm.weight"] == 0.0
    assert all(group["betas"] == (0.8, 0.9) for group in optimizer.param_groups)


def layered(freeze_parts=(), layer_decay=1.0) -> tuple[AED, torch.optim.Optimizer]:
    encoder = EncoderConfig(**{**SIZE, "n_layers": 3}, subsampling_channels=4, conv_kernel=3)
    model = AED(AEDConfig(FrontendConfig(sample_rate=8000, n_mels=20), encoder, DecoderConfig(**SIZE)), 11)
    freeze(model, list(freeze_parts))
    return model, make_optimizer(model, OptimConfig(lr=0.1, warmup_steps=0, layer_decay=layer_decay), 10)["optimizer"]


def test_lower_blocks_of_the_encoder_learn_more_slowly():
    model, optimizer = layered(["encoder.blocks.1", "decoder.embed"], 0.5)
    members = [(id(p), group["lr"]) for group in optimizer.param_groups for p in group["params"]]
    rates = dict(members)
    named = {name: rates.get(id(p)) for name, p in model.named_parameters()}
    assert len(members) == len(rates) == sum(rate is not None for rate in named.values())
    expected = {"encoder.subsampling.": 0.025, "encoder.blocks.0.": 0.025, "encoder.blocks.1.": None}
    expected |= {"encoder.blocks.2.": 0.1, "decoder.embed.": None, "decoder.": 0.1, "ctc.": 0.1}
    for name, rate in named.items():
        assert rate == next(value for prefix, value in expected.items() if name.startswith(prefix)), name
    assert optimizer.param_groups[0]["lr"] == 0.1  # the one that is told in the log


def test_without_layer_decay_there_are_two_groups_in_the_order_of_the_model():
    model, optimizer = layered()
    matrices, vectors = (group["params"] for group in optimizer.param_groups)
    assert [id(p) for p in matrices] == [id(p) for p in model.parameters() if p.ndim > 1]
    assert [id(p) for p in vectors] == [id(p) for p in model.parameters() if p.ndim <= 1]


@pytest.mark.parametrize("decay", [0.0, 1.1])
def test_a_layer_decay_that_is_no_share_is_refused(decay):
    with pytest.raises(SpeechError, match=f"optim.layer_decay {decay} is outside 0 ... 1"):
        OptimConfig(layer_decay=decay)


def test_what_to_freeze_is_named_by_parts():
    model = tiny(0)
    for wrong in ("encode", "encoder.block", "frontend", ""):
        with pytest.raises(SpeechError, match=f"name begins with '{wrong}'; the parts are encoder, decoder, ctc$"):
            freeze(model, ["decoder", wrong])
    with pytest.raises(SpeechError, match="optim.freeze encoder, decoder, ctc leaves nothing to train"):
        freeze(model, ["encoder", "decoder", "ctc"])
    freeze(model, ["encoder.blocks.0.conv", "ctc.bias"])
    still = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {name for name, _ in model.named_parameters() if name.startswith("encoder.blocks.0.conv.")} < still
    assert "ctc.bias" in still and "ctc.weight" not in still


def test_a_frozen_part_runs_as_in_use_and_without_a_graph():
    """No dropout, batch norms by their own statistics; the other parts train."""
    recipe = AEDRecipe(optim=OptimConfig(freeze=["encoder"]))
    model = tiny(0)
    model.encoder.blocks[0].dropout.p = model.decoder.dropout.p = 0.5
    task = AEDTask(model, recipe, 0)
    norm = model.encoder.blocks[0].conv.norm
    assert isinstance(norm, nn.BatchNorm1d)
    before = norm.running_mean.clone()
    features, lengths = torch.randn(2, 60, 20), torch.tensor([60, 50])
    for _ in range(2):
        task.train()
        assert not norm.training and not model.encoder.blocks[0].dropout.training and model.decoder.dropout.training
        encoded = model.encode_features(features, lengths)
        assert encoded.encoded.grad_fn is None and encoded.memory[0].k.grad_fn is not None
        assert torch.equal(encoded.encoded, model.encode_features(features, lengths).encoded)
        task.eval()
    assert torch.equal(norm.running_mean, before)
    task.train()
    AEDTask(model, AEDRecipe(), 0)
    assert norm.training  # freezing nothing thaws everything


def test_the_average_is_the_mean(tmp_path):
    files = []
    for i in range(3):
        files.append(tmp_path / f"{i}.safetensors")
        save_file(
            {"w": torch.tensor([1.0, 2.0]) * 3**i, "n": torch.tensor(i), "h": torch.ones(1).bfloat16()}, files[-1]
        )
    mean = average_states(files)
    assert (
        torch.equal(mean["w"], torch.tensor([13 / 3, 26 / 3])) and mean["n"] == 2 and mean["h"].dtype == torch.bfloat16
    )


def test_the_newest_whole_checkpoints_are_averaged(tmp_path):
    io, states = FolderCheckpointIO(9), {}
    for step in (1, 2, 3, 4):
        states[step] = tiny(step).state_dict()
        state = {"global_step": step, "state_dict": {f"model.{k}": v for k, v in states[step].items()}}
        io.save_checkpoint(state, tmp_path / f"step-{step:08d}")
    (tmp_path / "step-00000003/model.safetensors").write_bytes(b"broken")
    model = tiny(9)
    assert average_checkpoints(tmp_path, 2, model) == "Mean of the checkpoints of steps 2, 4."
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (states[2][name] + states[4][name]) / 2)
    assert not model.training
    average_checkpoints(tmp_path, 1, model)
    ours = load_file(tmp_path / "step-00000004/model.safetensors")
    assert all(torch.equal(tensor, ours[f"model.{name}"]) for name, tensor in model.state_dict().items())
    with pytest.raises(SpeechError, match="no whole checkpoint"):
        average_checkpoints(tmp_path / "empty", 2, model)


def test_settings_answer_without_torch():
    code = "import sys, speech.training.config, speech.training.run; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
