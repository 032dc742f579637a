"""Feed-forward layer shared by encoder and decoder."""

from torch import Tensor, nn

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}


class FeedForward(nn.Module):
    """LN, linear, activation, dropout, linear, dropout: [B, T, C] -> [B, T, C], without the residual."""

    def __init__(self, d_model: int, d_ff: int, act: str, dropout: float, bias: bool = True):
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.inner = nn.Linear(d_model, d_ff, bias=bias)
        self.act = ACTIVATIONS[act]()
        self.outer = nn.Linear(d_ff, d_model, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.outer(self.dropout(self.act(self.inner(self.norm(x))))))


def store_by_input(module: nn.Module) -> None:
    """Lay out by input feature the weights that are wider on their output side: same values and shapes, other strides.

    A decoding step multiplies one to a few rows with a weight, which MKL does in half the time on such a layout (AMD
    EPYC, torch 2.11: 1024 x 256 and 4096 x 1024 by one row). For recognition on a CPU; training has no use for it.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Embedding) and layer.weight.size(0) > layer.weight.size(1):
            layer.weight.data = layer.weight.data.t().contiguous().t()
