import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from tiny import lively
from torch.nn.functional import layer_norm

from speech.models.decoder import Decoder
from speech.nn.attention import Buffer
from speech.nn.config import DecoderConfig
from speech.nn.masks import Lengths, length_mask

V, C, S, U = 21, 16, 9, 8
close = torch.testing.assert_close


def decoder(vocab_size: int = V, n_layers: int = 2, **options) -> Decoder:
    torch.manual_seed(0)
    return lively(Decoder(DecoderConfig(d_model=C, n_layers=n_layers, n_heads=4, d_ff=32, **options), vocab_size))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(V, (2, U), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def encoded() -> torch.Tensor:
    return torch.randn(2, S, C, generator=torch.Generator().manual_seed(2))


MASK = length_mask(torch.tensor([S, 5]), S)


def test_later_tokens_have_no_gradient(tokens, encoded):
    model, embedded = decoder(), []

    def keep(module, inputs, output):
        output.retain_grad()
        embedded.append(output)

    model.embed.register_forward_hook(keep)
    logits = model(tokens, model.project_memory(encoded), MASK).logits
    for t in range(U):
        (gradient,) = torch.autograd.grad(logits[:, t].square().sum(), embedded[0], retain_graph=True)
        assert (gradient[:, t + 1 :] == 0).all()
        assert (gradient[:, : t + 1] != 0).any(-1).all()


@pytest.mark.parametrize("splits", [[3, 1, 1, 1, 2], [1] * U, [U], [2, 6]])
def test_steps_with_a_cache_equal_the_full_pass(tokens, encoded, splits):
    model = decoder()
    memory = model.project_memory(encoded)
    whole = model(tokens, memory, MASK, with_attention=True)
    cache, at = None, 0
    for n in splits:
        out = model(tokens[:, at : at + n], memory, MASK, cache, with_attention=True)
        close(out.logits, whole.logits[:, at : at + n])
        close(out.attention, whole.attention[:, at : at + n])
        cache, at = out.cache, at + n
    for part, full in zip(cache, whole.cache, strict=True):
        close(part.k, full.k)
        close(part.v, full.v)


@pytest.mark.parametrize("splits", [[3, 1, 1, 1, 2], [1] * U, [U], [2, 6]])
def test_buffers_filled_step_by_step_equal_the_full_pass(tokens, encoded, splits):
    model = decoder()
    memory = model.project_memory(encoded)
    whole = model(tokens, memory, MASK)
    garbage = torch.full((2, 4, U + 3, 4), 1e3)
    cache, at = [Buffer(garbage, garbage, torch.zeros(2, dtype=torch.long)) for _ in memory], 0
    for n in splits:
        out = model(tokens[:, at : at + n], memory, Lengths(torch.tensor([S, 5])), cache)
        close(out.logits, whole.logits[:, at : at + n])
        at += n
        cache = [Buffer(*kv, torch.full((2,), at)) for kv in out.cache]
    for part, full in zip(cache, whole.cache, strict=True):
        close(part.k[:, :, :U], full.k)
        assert (part.v[:, :, U:] == 1e3).all()


def test_rows_of_buffers_may_be_filled_unequally(tokens, encoded):
    model = decoder()
    memory = model.project_memory(encoded)
    whole = model(tokens, memory, MASK)
    filled = torch.tensor([5, 2])
    cache = [Buffer(*(F.pad(x, (0, 0, 0, 2)) for x in kv), filled) for kv in whole.cache]
    out = model(torch.stack([tokens[0, 5:7], tokens[1, 2:4]]), memory, MASK, cache)
    close(out.logits, torch.stack([whole.logits[0, 5:7], whole.logits[1, 2:4]]))


def test_padding_after_the_tokens_changes_nothing(tokens, encoded):
    model = decoder()
    memory = model.project_memory(encoded)
    whole = model(tokens, memory, MASK).logits
    longer = torch.cat([tokens, torch.zeros(2, 3, dtype=torch.long)], 1)
    close(model(longer, memory, MASK).logits[:, :U], whole)


def test_batch_equals_single_utterances(tokens, encoded):
    model = decoder()
    noisy = encoded.clone()
    noisy[1, 5:] = 1e3
    batch = model(tokens, model.project_memory(noisy), MASK).logits
    for i, n in enumerate((S, 5)):
        close(batch[i : i + 1], model(tokens[i : i + 1], model.project_memory(encoded[i : i + 1, :n]), None).logits)


def test_neighbours_share_a_row_of_memory(tokens, encoded):
    model = decoder()
    beams = torch.cat([tokens, tokens.flip(1), tokens.roll(1, 1)])[[0, 2, 4, 1, 3, 5]]  # three of each utterance
    memory = model.project_memory(encoded)
    shared = model(beams, memory, MASK, with_attention=True)
    own = [type(kv)(kv.k.repeat_interleave(3, 0), kv.v.repeat_interleave(3, 0)) for kv in memory]
    each = model(beams, own, MASK.repeat_interleave(3, 0), with_attention=True)
    close(shared.logits, each.logits)
    close(shared.attention, each.attention)
    steps = model(beams[:, -1:], memory, MASK, model(beams[:, :-1], memory, MASK).cache)
    close(steps.logits, each.logits[:, -1:])


def test_attention_is_the_mean_of_the_last_cross_attention(tokens, encoded):
    model, seen = decoder(), []
    memory = model.project_memory(encoded)
    last = model.layers[-1].cross
    last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    out = model(tokens, memory, MASK, with_attention=True)
    x, kv, mask = seen[0]
    close(out.attention, last.weights(x, kv, mask).mean(1))
    close(out.attention.sum(-1), torch.ones(2, U))
    assert (out.attention[1, :, 5:] == 0).all()
    plain = model(tokens, memory, MASK)
    assert plain.attention is None and torch.equal(plain.logits, out.logits)


def test_every_combination_of_options_builds_its_parameters(tokens, encoded):
    flags = ("embed_scale", "pos_scale", "embed_norm", "key_bias", "head_bias")
    always = {"embed.weight", "norm.weight", "layers.0.attn.q.bias", "layers.1.cross.v.bias"}
    for act, values in itertools.product(("gelu", "relu"), itertools.product((False, True), repeat=len(flags))):
        options = dict(zip(flags, values, strict=True))
        model = decoder(act=act, **options)
        names = set(model.state_dict())
        assert always <= names
        assert ("head_bias" in names) == options["head_bias"]
        assert ("embed_norm.weight" in names) == ("embed_norm.bias" in names) == options["embed_norm"]
        for part in ("layers.0.attn", "layers.1.cross"):
            assert (f"{part}.k.bias" in names) == options["key_bias"]
        assert model(tokens, model.project_memory(encoded), MASK).logits.isfinite().all()


@pytest.mark.parametrize("embed_scale", [False, True])
@pytest.mark.parametrize("pos_scale", [False, True])
@pytest.mark.parametrize("embed_norm", [False, True])
def test_embedding_and_tied_head_are_their_formulas(tokens, embed_scale, pos_scale, embed_norm):
    model = decoder(n_layers=0, embed_scale=embed_scale, pos_scale=pos_scale, embed_norm=embed_norm)
    x = model.embed.weight[tokens] * (4.0 if embed_scale else 1.0)
    for t, i in itertools.product(range(U), range(C // 2)):
        angle = t / 10000 ** (2 * i / C)
        x[:, t, 2 * i] += math.sin(angle) / (4.0 if pos_scale else 1.0)
        x[:, t, 2 * i + 1] += math.cos(angle) / (4.0 if pos_scale else 1.0)
    if embed_norm:
        x = layer_norm(x, [C], model.embed_norm.weight, model.embed_norm.bias)
    expected = layer_norm(x, [C], model.norm.weight, model.norm.bias) @ model.embed.weight.T + model.head_bias
    close(model(tokens, [], None).logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_layer_is_pre_norm(tokens, encoded, act):
    layer = decoder(act=act).layers[0]
    x = torch.randn(2, 1, C)
    y = x + layer.attn(layer.self_norm(x), layer.attn.project_kv(layer.self_norm(x)))
    y = y + layer.cross(layer.cross_norm(y), layer.cross.project_kv(encoded), MASK)
    y = y + layer.ff(y)
    out, kv = layer(x, layer.cross.project_kv(encoded), None, None, MASK)
    close(out, y)
    assert kv.k.shape == (2, 4, 1, 4)


@pytest.mark.parametrize(("vocab", "pad", "width"), [(21, 1, 21), (21, 8, 24), (24, 8, 24)])
def test_the_vocabulary_is_padded_to_a_multiple(tokens, encoded, vocab, pad, width):
    model = decoder(vocab, vocab_pad=pad)
    assert model.embed.num_embeddings == model.head_bias.numel() == width
    assert model(tokens, model.project_memory(encoded), MASK).logits.shape == (2, U, width)


def test_logits_are_float32_under_autocast(tokens, encoded):
    model = decoder()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(tokens, model.project_memory(encoded), MASK).logits.dtype == torch.float32
