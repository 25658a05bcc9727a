"""Every example learns on "cuda" what it learns on the CPU."""

from pathlib import Path

import numpy as np
import pytest
from on_cuda import MARKS, on
from test_examples import FOLDER, example

pytestmark = MARKS

SMALL = "--limit 4 --hidden 4 --epochs 1 --batch 4"
# Of each example, options besides those; a new example is run with none.
OPTIONS = {"rnn/tagger": ["", "--chars"], "attention/transformer_tagger": ["", "--no-crf"]}
EXAMPLES = [str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.py")]
CASES = [(name, more) for name in sorted(EXAMPLES) for more in OPTIONS.get(name, [""])]


@pytest.mark.parametrize(("name", "more"), CASES, ids=[" ".join(case) for case in CASES])
def test_metrics_after_some_training_agree(name, more):
    assert Path(FOLDER / f"{name}.py").exists()

    def learn():
        return example(name).main(f"{SMALL} {more}".split())

    here, there = on("cpu", learn), on("cuda", learn)
    assert here and here.keys() == there.keys()
    for key, value in here.items():
        np.testing.assert_allclose(there[key], value, rtol=1e-5, atol=1e-5, err_msg=key)
