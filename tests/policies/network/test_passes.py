"""Who goes together in passes of a fixed shape, and how they are filled up."""

from __future__ import annotations

import numpy as np
import pytest

from vlagym.policies.network.passes import Widths, fill_up, passes, right_padded, row_by_row


def test_known_prompts_share_a_width_and_longer_ones_have_steps_of_their_own() -> None:
    widths = Widths(longest=27, beside=256)
    assert {widths.of(length) for length in range(1, 33)} == {32}
    assert (32 + 256) % 8 == 0
    assert [widths.of(length) for length in (33, 64, 65)] == [64, 64, 96]


def test_a_width_does_not_depend_on_company() -> None:
    lengths = [20, 40, 21, 70, 22]
    widths = Widths(longest=24, beside=256)
    groups = list(passes([widths.of(length) for length in lengths], rows=2))
    assert groups == [(24, [0, 2]), (24, [4]), (56, [1]), (88, [3])]


def test_missing_rows_repeat_the_last_one() -> None:
    values = np.arange(6).reshape(3, 2)
    np.testing.assert_array_equal(fill_up(values, 5)[:, 0], [0, 2, 4, 4, 4])
    assert fill_up(values, 3) is values
    np.testing.assert_array_equal(right_padded([[1, 2], [3]], 3, 9), [[1, 2, 9], [3, 9, 9]])


@pytest.mark.parametrize("rows", [1, 4])
def test_every_observation_is_in_one_pass(rows: int) -> None:
    groups = list(passes([8, 16, 8, 8, 16, 8, 8], rows))
    assert sorted(member for _, members in groups for member in members) == list(range(7))
    assert all(len(members) <= rows for _, members in groups)


def test_elementwise_functions_give_a_row_the_same_numbers_at_every_place() -> None:
    torch = pytest.importorskip("torch", reason="networks need torch")
    x = 4 * torch.randn(5, 49, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([torch.sigmoid(row[None]) for row in x])
    for turns in range(5):
        assert torch.equal(row_by_row(torch.sigmoid, x.roll(turns, 0)), alone.roll(turns, 0))
    assert row_by_row(torch.sigmoid, torch.zeros(5, 64)).shape == (5, 64)
