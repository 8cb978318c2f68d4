"""Statuses: fixed order, fixed vocabulary, a sentence for each reason."""

import pytest

from llc_lightning.runtime import status
from llc_lightning.runtime.errors import SettingError


def test_the_order_of_reasons_is_fixed() -> None:
    failed = ["nan-loss", "no-examples", "frozen", "all-diverged", "error"]
    flagged = ["diverged", "not-local", "not-a-minimum", "drifting", "not-mixed", "estimators-disagree", "box-hits"]
    flagged[-1:-1] = ["batch-noise", "unstable-step", "wrong-gradient", "rounding"]
    last = ["too-few-draws", "saturated", "no-gap", "one-example", "single-chain"]
    names = [reason.name for reason in status.REASONS]
    assert [name for name in names if name in {*failed, *flagged, *last}] == [*failed, *flagged, *last]
    count = sum(reason.failed for reason in status.REASONS)
    assert all(reason.failed for reason in status.REASONS[:count]), "failed ones come first"
    assert set(failed) <= set(names[:count])


def test_join_sorts_and_drops_repeats() -> None:
    assert status.join([]) == status.join(["ok"]) == "ok"
    assert status.join(["saturated", "diverged", "saturated"]) == "diverged+saturated"


def test_split_is_the_inverse_of_join() -> None:
    everything = status.join(reason.name for reason in status.REASONS)
    assert list(status.split(everything)) == status.REASONS
    assert status.split("ok") == ()


def test_judgements() -> None:
    assert status.is_ok("ok")
    assert not status.is_ok("diverged")
    assert status.is_failed("frozen+single-chain")
    assert not status.is_failed("not-local+single-chain")


def test_every_reason_says_what_to_change() -> None:
    for reason in status.REASONS:
        (told,) = status.explain(reason.name)
        assert told.startswith(f"{reason.name}: ")
        assert ";" in told
        assert told.endswith(".")


def test_unknown_reason() -> None:
    with pytest.raises(SettingError) as caught:
        status.split("not-locall")
    assert str(caught.value).startswith("unknown status reason 'not-locall'; did you mean 'not-local'")


def test_wrong_order_is_refused() -> None:
    with pytest.raises(SettingError) as caught:
        status.split("single-chain+diverged")
    assert str(caught.value) == (
        "the status 'single-chain+diverged' is not in the fixed order; write 'diverged+single-chain'."
    )


def test_a_reason_from_outside_has_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "REASONS", [*status.REASONS])
    monkeypatch.setattr(status, "_BY_NAME", {reason.name: reason for reason in status.REASONS})
    cold = status.Reason("cold", False, "the chains are cold; warm them.")
    status.add_reason(cold, before="drifting")
    assert status.join(["drifting", "cold", "diverged"]) == "diverged+cold+drifting"
    assert status.explain("cold") == ("cold: the chains are cold; warm them.",)
    with pytest.raises(SettingError, match="'cold' is there already"):
        status.add_reason(cold, before="drifting")
    with pytest.raises(SettingError, match="did you mean 'drifting'"):
        status.add_reason(status.Reason("warm", False, ""), before="driftng")
