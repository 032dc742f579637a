import pytest
import torch

from speech.errors import SpeechError
from speech.models.aed import AED, count_parameters
from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig


def firered(layers: int, d: int) -> AEDConfig:
    heads = d // 64
    return AEDConfig(
        FrontendConfig(kind="kaldi", n_mels=80, wave_scale=32768, low_hz=20),
        EncoderConfig(
            d_model=d,
            n_layers=layers,
            n_heads=heads,
            d_ff=4 * d,
            subsampling="conv4",
            subsampling_channels=32,
            qkv_norm=True,
            attn_bias=False,
            conv_mult=2,
            conv_kernel=33,
            conv_norm="layer",
            conv_bias=False,
        ),
        DecoderConfig(
            d_model=d,
            n_layers=layers,
            n_heads=heads,
            d_ff=4 * d,
            act="gelu",
            embed_scale=True,
            pos_scale=False,
            embed_norm=False,
            key_bias=False,
            head_bias=False,
        ),
        ctc=False,
    )


CANARY_180M_FLASH = AEDConfig(
    FrontendConfig(kind="mel", n_mels=128, norm="utterance"),
    EncoderConfig(
        d_model=512,
        n_layers=17,
        n_heads=8,
        d_ff=2048,
        subsampling="dw8",
        subsampling_channels=256,
        conv_kernel=9,
        conv_norm="batch",
    ),
    DecoderConfig(d_model=1024, n_layers=4, n_heads=8, d_ff=4096, vocab_pad=8, max_tokens=1024),
    ctc=False,
)


def on_paper(config: AEDConfig, vocab_size: int) -> AED:
    with torch.device("meta"):
        return AED(config, vocab_size)


@pytest.mark.parametrize(
    ("layers", "d", "parameters"),
    [(12, 512, 140_292_960), (16, 768, 413_681_248), (16, 1024, 731_926_880), (16, 1280, 1_140_350_048)],
    ids=["XS", "S", "M", "L"],
)
def test_firered_sizes(layers, d, parameters):
    assert count_parameters(on_paper(firered(layers, d), 7832)) == parameters


def test_firered_tensors_are_those_of_its_checkpoint():
    # 940 keys with two position buffers and the tied matrix stored twice; ours has the global statistics instead
    assert len(on_paper(firered(16, 1280), 7832).state_dict()) == 940 - 2 - 1 + 2


def test_canary_180m_flash_size():
    model = on_paper(CANARY_180M_FLASH, 5248)
    assert count_parameters(model) == 182_643_840  # published as 182M
    # its checkpoint: 22 + 40 per encoder layer + 26 per decoder layer + 2 for the projection between unequal widths,
    # with window, filter bank, position buffer and the tied matrix again; ours has the global statistics instead
    assert len(model.state_dict()) == 22 + 40 * 17 + 26 * 4 + 2 - 4 + 2


def test_an_unknown_option_is_named():
    with pytest.raises(SpeechError, match="model config: .*'n_layer'"):
        AEDConfig.from_dict({"encoder": {"n_layer": 3}})
    with pytest.raises(SpeechError, match="model config: .*'cct'"):
        AEDConfig.from_dict({"cct": True})
