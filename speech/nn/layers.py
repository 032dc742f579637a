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
