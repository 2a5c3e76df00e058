import pytest

from safe_dnn.reasons.listed import Reason, chosen
from safe_dnn.support.errors import SAFEError

LISTED = [Reason(name, "") for name in ("weak spot 1", "weak spot 10", "RCC 0", "RCC 3")]


def test_reasons_are_chosen_as_they_are_called_or_as_their_files_are_and_stay_in_order():
    found = chosen(LISTED, ["RCC_03", "Weak Spot 10", "rcc 0", "RCC_00"])
    assert [reason.name for reason in found] == ["weak spot 10", "RCC 0", "RCC 3"]
    assert chosen(LISTED, []) == []


def test_a_reason_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(SAFEError, match="Received: RCC 30; there are weak spot 1, weak spot 10, RCC 0"):
        chosen(LISTED, ["RCC 0", "RCC 30"])
