"""One rule for the names of settings, in the column ``settings``: measuring more must leave old names as they are."""

from collections.abc import Mapping

from llc_lightning.results.schema import settings_hash


def settings_name(
    always: Mapping[str, object],
    options: Mapping[str, object],
    *,
    baseline: Mapping[str, object],
    revision: int = 1,
) -> str:
    """Returns the name of how something is measured.

    An option enters where it differs from the baseline: its default on the day when it was added. The baseline is
    frozen: a new option joins it and leaves the names of old rows as they are, and a default that changes later does
    not change it. A revision enters above 1.

    Args:
        always: What enters whatever it is, such as the kind of measurement and the digest of the examples.
        options: What else changes a value, an error or a status.
        baseline: The options that are left out, each at this value.
        revision: Of what measures.

    Example:
        >>> settings_name({"n": 1}, {"new": 0}, baseline={"new": 0}) == settings_name({"n": 1}, {}, baseline={})
        True
        >>> settings_name({"n": 1}, {"new": 5}, baseline={"new": 0}) == settings_name({"n": 1}, {}, baseline={})
        False
    """
    unset = object()
    used = {name: value for name, value in options.items() if value != baseline.get(name, unset)}
    newer = {"revision": revision} if revision > 1 else {}
    return settings_hash({**always, **used, **newer})


def revision_of(*revisions: int) -> int:
    """Returns one revision for several parts that work together: it rises whenever one of theirs does.

    Example:
        >>> revision_of(1, 1), revision_of(1, 3, 2)
        (1, 4)
    """
    return 1 + sum(revision - 1 for revision in revisions)
