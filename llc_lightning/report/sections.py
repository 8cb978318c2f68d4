"""The figures of a run in the order of the page, grouped under headings."""

from llc_lightning.analysis.stages import stages
from llc_lightning.report.events import Logged
from llc_lightning.report.findings import Findings
from llc_lightning.report.panel import Matrix, Panel
from llc_lightning.report.panels.circuits import accuracy, circuits, sharing
from llc_lightning.report.panels.effects import effects, roles
from llc_lightning.report.panels.headline import agreement, headline, matched
from llc_lightning.report.panels.llc import full_llc, restricted_llc
from llc_lightning.report.panels.methods import agreement_of_methods, component_by_method
from llc_lightning.report.panels.stages import sampled, staged
from llc_lightning.report.panels.tasks import selective_share, task_accuracy, unit_selectivity
from llc_lightning.report.panels.training import training
from llc_lightning.runtime.kinds import at_level


def sections(
    found: Findings, logged: Logged, *, control: tuple[Findings, Logged] | None = None
) -> dict[str, list[Panel | Matrix]]:
    """Returns the figures that the rows allow, by heading; headings without one are left out.

    Args:
        found: What was found about the run.
        logged: Its curves as they were logged.
        control: The same two of a run to compare with.
    """
    other = control[0] if control else None
    kinds = (found.units or "", *at_level("layers"))
    every: dict[str, list[Panel | Matrix | None]] = {
        "Complexity against need": [headline(found), matched(found), agreement(found)],
        "Training": [
            training(found, logged.loss, control=(control[0], control[1].loss) if control else None),
            accuracy(found, control=other),
            staged(logged.metrics, stages(logged.metrics), sampled(found.rows)),
        ],
        "Learning coefficients": [*full_llc(found), *(restricted_llc(found, kind) for kind in kinds)],
        "Ablation effects": [
            *(effects(found, kind) for kind in kinds),
            *(roles(found), component_by_method(found), agreement_of_methods(found)),
        ],
        "Tasks": [task_accuracy(found), selective_share(found), unit_selectivity(found)],
        "Circuits": [circuits(found, control=other), sharing(found)],
    }
    shown = {heading: [one for one in some if one is not None] for heading, some in every.items()}
    return {heading: some for heading, some in shown.items() if some}
