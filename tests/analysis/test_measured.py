import numpy as np
import pandas as pd
import pytest

from prerl.analysis.measured import Missing, freedom, pick
from prerl.errors import UserError

ROW = {"method": "dsrl", "estimate": 0.5, "low": 0.2, "high": np.inf, "seeds": 3, "problems": 20}


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([], Missing, "^no runs with method dsrl$"),
        ([ROW | {"method": "grpo"}], Missing, "^no runs with method dsrl$"),
        ([ROW, ROW], UserError, "^claims: 2 rows of a summary with method dsrl; delete summary/ and run again$"),
        ([ROW | {"estimate": np.nan}], Missing, r"^the runs with method dsrl give no number \(nan\)$"),
        ([ROW | {"estimate": np.inf}], Missing, r"^the runs with method dsrl give no number \(inf\)$"),
        ([ROW | {"low": np.nan}], Missing, "^the runs with method dsrl give a number without an interval$"),
        ([ROW | {"high": np.nan}], Missing, "^the runs with method dsrl give a number without an interval$"),
    ],
)
def test_no_run_several_rows_and_no_number_are_different_answers(rows, error, message):
    with pytest.raises(error, match=message):
        pick(pd.DataFrame(rows, columns=list(ROW)), "What", "ratio", {"method": "dsrl"})


def test_one_row_with_a_number_is_a_part():
    found = pick(pd.DataFrame([ROW, ROW | {"method": "grpo"}]), "What", "points", {"method": "dsrl"})
    assert (found.estimate, found.low, found.high, found.sizes) == (50, 20, np.inf, "3 seeds, 20 problems")
    assert found.freedom == 2  # as if all spread were between seeds
    with pytest.raises(Missing, match="no runs that could tell"):
        pick(pd.DataFrame([ROW]), "What", "points", {"method": "dsrl", "reference": "base"})


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"freedom": 7.5, "seeds": 5}, 7.5),
        ({"freedom": np.nan, "seeds": 5, "problems": 128}, 4),
        ({"seeds": 1, "problems": 128}, 127),
        ({"seeds": 1, "batches": 12}, 11),
        ({}, 1),
    ],
)
def test_degrees_of_freedom_are_the_tables_or_the_fewest_there_can_be(row, expected):
    assert freedom(pd.Series(row, dtype=float)) == expected
