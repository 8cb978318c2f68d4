"""The words of the report: what each means, and links to that wherever it stands."""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word that readers meet."""

    name: str
    means: str
    spelled: tuple[str, ...] = ()
    """How else it is written; its name counts without being given."""

    @property
    def anchor(self) -> str:
        """Where the page explains it."""
        return f"word-{re.sub('[^a-z0-9]+', '-', self.name.lower()).strip('-')}"


TERMS = (
    Term(
        "LLC",
        "Local learning coefficient: n_beta times the mean excess loss of weights drawn around the current ones, "
        "at inverse temperature n_beta and held near them by gamma. How many directions of weight space the loss "
        "constrains at that resolution, each counted a half. It means nothing without (n_beta, gamma).",
    ),
    Term(
        "full LLC",
        "The LLC of all weights together.",
    ),
    Term(
        "wrLLC",
        "Weight-restricted LLC: the same with the weights of one component alone drawn anew, and all others kept."
        " For a neuron these are its incoming row, its bias and its outgoing column.",
    ),
    Term(
        "n_beta",
        "Number of examples times inverse temperature: how finely the loss is looked at. A rise of the loss by 1 "
        "/ n_beta is what the chains just notice, so its unit is one over that of the loss.",
    ),
    Term(
        "gamma",
        "How strongly the chains are held near the current weights. The direction of a curvature above gamma / "
        "n_beta counts.",
    ),
    Term(
        "resolution",
        "The pair (n_beta, gamma). Values at different resolutions measure different things.",
    ),
    Term(
        "rung",
        "One n_beta of several at which the same is measured, the ladder.",
        (
            "rungs",
            "ladder",
        ),
    ),
    Term(
        "n_beta x effect",
        "How far above the noise of the chains the effect of a component stands: a pure number, comparable "
        "between nets.",
    ),
    Term(
        "matched resolution",
        "The rung whose median n_beta x effect over units is nearest 10. Far below, gamma hides the units; far "
        "above, all of them are saturated. It is chosen by this rule and never by hand.",
    ),
    Term(
        "raw",
        "As sampled, without Delta.",
    ),
    Term(
        "Delta",
        "What is added to a raw LLC because the weights are no minimum of the loss yet: to second order, raw + "
        "Delta is the value around the minimum. Early in training it is most of the change.",
    ),
    Term(
        "ablation effect",
        "The mean loss with the activation of a component replaced, minus that without: how much the net needs it.",
        (
            "ablation effects",
            "effects",
            "effect",
        ),
    ),
    Term(
        "zero ablation",
        "The activation is replaced by 0.",
        ("zero-ablation effect",),
    ),
    Term(
        "mean ablation",
        "The activation is replaced by its mean over the examples.",
        ("mean-ablation effects",),
    ),
    Term(
        "resample ablation",
        "The activation is replaced by that on another example.",
        ("resample-ablation effect",),
    ),
    Term(
        "noise ablation",
        "Gaussian noise as large as the activation's own spread over the examples is added to it.",
        ("noise-ablation effect",),
    ),
    Term(
        "optimal ablation",
        "The activation is replaced by the constant that hurts least.",
        ("optimal-ablation effect",),
    ),
    Term(
        "ok",
        "Nothing speaks against the value. Only such values enter numbers, axis limits and sentences.",
    ),
    Term(
        "flagged",
        "A value that is kept, but that a reason speaks against, which its status names: drawn hollow and left "
        "out of every aggregate.",
    ),
    Term(
        "failed",
        "A measurement without a value.",
    ),
    Term(
        "hollow",
        "How a point that is not ok is drawn.",
    ),
    Term(
        "replicate",
        "The same measured again with other random numbers: how well it repeats.",
        ("replicates",),
    ),
    Term(
        "R-hat",
        "Whether the chains agree: the spread over all chains as a multiple of that within them. 1 is agreement; "
        "at 1.2 a value is flagged (of 32 chains and more at 1.05, nested).",
    ),
    Term(
        "ESS",
        "Effective sample size: so many independent draws are worth the correlated ones.",
    ),
    Term(
        "weight norm",
        "The Euclidean norm of a component's weights, |w|: what the wrLLC must say more than.",
        ("|w|",),
    ),
    Term(
        "gradient norm",
        "The Euclidean norm of the gradient of the loss in a component's weights: one gradient tells it, so that "
        "the wrLLC must say more than it does.",
        ("grad_norm",),
    ),
    Term(
        "rank correlation",
        "Spearman's rho: whether two quantities order the units alike, from -1 to 1.",
        (
            "rank correlations",
            "rho",
        ),
    ),
    Term(
        "circuit",
        "One of the small functions that a net for computation in superposition shall compute.",
        ("circuits",),
    ),
    Term(
        "solved",
        "Of a circuit: its answer is right on more than 95 % of the examples where it is active.",
    ),
    Term(
        "superposition",
        "Computing more circuits than the neurons could serve if each worked for one circuit alone. Judged by "
        "circuits solved and by accuracy, which no exponent of a loss enters.",
    ),
    Term(
        "without sharing",
        "What as many neurons reach if each serves one circuit alone and the rest is guessed; the net of that "
        "kind is the baseline called dedicated.",
        (
            "dedicated",
            "dedicated net",
        ),
    ),
    Term(
        "best baseline",
        "The least loss among predictors that share no neuron: always 0, an affine map, and dedicated neurons, "
        "measured on the same examples in the same unit.",
    ),
    Term(
        "error^4 / q",
        "A unit of loss: the mean over outputs of |output - target|^4, divided by the share q of circuits that "
        "are active; always answering 0 has the loss 1. error^2 / q likewise. They are not comparable with each "
        "other.",
        (
            "error^2 / q",
            "error^4",
            "error^2",
        ),
    ),
    Term(
        "nats",
        "The unit of a loss that is a negative log-likelihood. A loss of another kind has another unit, which the"
        " module names.",
        (
            "nats per example",
            "nats per token",
        ),
    ),
    Term(
        "participation ratio",
        "(sum a)^2 / sum a^2 over positive effects a: how many of them carry the sum.",
        ("participation ratios",),
    ),
    Term(
        "analysis set",
        "The examples that everything is measured on, the same at every step; never the training loader.",
    ),
    Term(
        "the curve",
        "A smooth curve that cannot fall, through log wrLLC over log (n_beta x effect) of all units, rungs and "
        "steps. What lies above it constrains more than its effect says; what lies below matters but is simple.",
        ("one curve",),
    ),
)
"""In the order of reading."""

_BY_SPELLING = {spelling: term for term in TERMS for spelling in (term.name, *term.spelled)}
_ANY = re.compile(
    r"(?<![\w|])(?:"
    + "|".join(re.escape(spelling) for spelling in sorted(_BY_SPELLING, key=len, reverse=True))
    + r")(?![\w|])"
)


def linked(text: object) -> str:
    """Returns text as HTML, escaped, each term linked to its meaning where it stands first.

    Example:
        >>> linked("is < raw")
        'is &lt; <a class="word" href="#word-raw" title="As sampled, without Delta.">raw</a>'
    """
    seen: set[str] = set()
    parts: list[str] = []
    at = 0
    whole = str(text)
    for match in _ANY.finditer(whole):
        term = _BY_SPELLING[match[0]]
        if term.name in seen:
            continue
        seen.add(term.name)
        link = f'<a class="word" href="#{term.anchor}" title="{html.escape(term.means)}">{html.escape(match[0])}</a>'
        parts += [html.escape(whole[at : match.start()]), link]
        at = match.end()
    return "".join([*parts, html.escape(whole[at:])])


def section() -> str:
    """Returns the section of the page that explains every term."""
    entries = "".join(
        f'<dt id="{term.anchor}">{html.escape(term.name)}</dt><dd>{html.escape(term.means)}</dd>' for term in TERMS
    )
    return f'<section id="words"><h2>Words</h2><dl class="words card">{entries}</dl></section>\n'


def terms_in(texts: Iterable[str]) -> list[Term]:
    """Returns the terms that texts use, in the order of reading."""
    used = {_BY_SPELLING[match[0]].name for text in texts for match in _ANY.finditer(text)}
    return [term for term in TERMS if term.name in used]
