"""How large a transformer is, and which parts it has."""

from dataclasses import dataclass

from llc_lightning.runtime.errors import SettingError, at_least, unknown, unless_none

NORMS = ("layer", "rms", "none")
POSITIONS = ("learned", "rotary")
ACTIVATIONS = ("relu", "gelu", "gelu_new", "silu")


@dataclass(frozen=True)
class TransformerShape:
    """The sizes and options of a decoder-only transformer that normalises what its parts read.

    Raises:
        SettingError: If a number is out of range or a name unknown.
    """

    d_vocab: int
    """Tokens that there are."""
    n_ctx: int
    """Positions at most."""
    n_layers: int = 2
    n_heads: int = 2
    d_model: int = 48
    """Width of the residual stream."""
    d_head: int | None = None
    """Width of a head; None for ``d_model / n_heads``."""
    d_mlp: int | None = None
    """Neurons of each MLP; None for attention alone."""
    act: str = "relu"
    """Of the MLPs: ``relu``, ``gelu``, ``gelu_new`` (by tanh, as GPT-2 has it) or ``silu``."""
    norm: str = "layer"
    """``layer``, ``rms`` or ``none``."""
    positions: str = "learned"
    """``learned`` or ``rotary``."""
    d_input: int | None = None
    """None reads tokens; a number reads vectors of that width in their place."""
    d_vocab_out: int | None = None
    """Outputs at each position; None for ``d_vocab``."""
    head_results: bool = False
    """Whether each head's part of the output has a hook point of its own (``attn.hook_result``), at some cost."""

    def __post_init__(self) -> None:
        at_least(
            1, d_vocab=self.d_vocab, n_ctx=self.n_ctx, n_layers=self.n_layers, n_heads=self.n_heads,
            d_model=self.d_model,
            **unless_none(d_head=self.d_head, d_mlp=self.d_mlp, d_input=self.d_input, d_vocab_out=self.d_vocab_out),
        )  # fmt: skip
        for name, value, allowed in (
            ("act", self.act, ACTIVATIONS),
            ("norm", self.norm, NORMS),
            ("positions", self.positions, POSITIONS),
        ):
            if value not in allowed:
                raise SettingError(unknown(name, value, allowed))
        if self.d_head is None and self.d_model % self.n_heads:
            raise SettingError(
                f"d_model is {self.d_model}, which {self.n_heads} heads cannot share; give a multiple of n_heads, or "
                "d_head."
            )
        if self.positions == "rotary" and self.head_size % 2:
            raise SettingError(f"a head has {self.head_size} coordinates; rotary positions need an even number.")

    @property
    def head_size(self) -> int:
        """The width of a head."""
        return self.d_model // self.n_heads if self.d_head is None else self.d_head
