"""Statuses: fixed order, fixed vocabulary, a sentence for each reason."""

import pytest

from llc_lightning.runtime import status
from llc_lightning.runtime.errors import SettingError


def test_the_order_of_reasons_is_fixed() -> None:
    failed = ["nan-loss", "no-examples", "frozen", "all-diverged", "error"]
    flagged = ["diverged", "not-local", "not-a-minimum", "drifting", "not-mixed", "estimators-disagree", "box-hits"]
    flagged[-1:-1] = ["batch-noise", "unstable-step", "wrong-gradient", "rounding"]
    last = ["too-few-draws", "saturated", "no-gap", "one-example", "single-chain"]
    reasons = status.in_order(status.REASONS)
    names = [reason.name for reason in reasons]
    assert [name for name in names if name in {*failed, *flagged, *last}] == [*failed, *flagged, *last]
    count = sum(reason.facts.failed for reason in reasons)
    assert all(reason.facts.failed for reason in reasons[:count]), "failed ones come first"
    assert set(failed) <= set(names[:count])


def test_join_sorts_and_drops_repeats() -> None:
    assert status.join([]) == status.join(["ok"]) == "ok"
    assert status.join(["saturated", "diverged", "saturated"]) == "diverged+saturated"


def test_split_is_the_inverse_of_join() -> None:
    everything = status.join(status.REASONS)
    assert status.split(everything) == status.in_order(status.REASONS)
    assert status.split("ok") == ()


def test_judgements() -> None:
    assert status.is_ok("ok")
    assert not status.is_ok("diverged")
    assert status.is_failed("frozen+single-chain")
    assert not status.is_failed("not-local+single-chain")


def test_every_reason_says_what_to_change() -> None:
    for reason in status.REASONS:
        (told,) = status.explain(reason)
        assert told.startswith(f"{reason}: ")
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
    monkeypatch.setattr(status.REASONS, "_known", dict(status.REASONS._entries))
    sentence = "the chains are cold; warm them."
    status.REASONS.register("cold", summary="too cold", sentence=sentence, order=35)(None)
    assert status.join(["drifting", "cold", "diverged"]) == "diverged+cold+drifting"
    assert status.explain("cold") == ("cold: the chains are cold; warm them.",)
    status.REASONS.register("at-rest", summary="", sentence="")(None)
    assert status.join(["at-rest", "single-chain"]) == "single-chain+at-rest", "without a place it is the last"
    with pytest.raises(SettingError, match="'cold' is registered already"):
        status.REASONS.register("cold", summary="too cold", sentence=sentence)
    with pytest.raises(SettingError, match="the status reason 'warm' does not say sentence"):
        status.REASONS.register("warm", summary="too warm")
