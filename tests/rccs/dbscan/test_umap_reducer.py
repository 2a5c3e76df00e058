import subprocess
import sys
from pathlib import Path

import pytest

from safe_dnn.rccs import image_map as maps


@pytest.mark.slow  # a fresh interpreter, and numba compiles
def test_umap_is_used_without_importing_tensorflow():
    code = (
        "import sys; from safe_dnn.rccs.dbscan.umap_reducer import load_umap; import numpy as np; "
        "assert load_umap()(5, 2, n_epochs=2).fit_transform(np.eye(30)).shape == (30, 2); "
        "assert 'tensorflow' not in sys.modules; assert 'umap.parametric_umap' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(maps.__file__).parents[2])
