"""What may be claimed: the headline, what is refused, and the record of it."""

import dataclasses
import json

from safe_dnn.training.before_after import ByGroup, GroupCount
from safe_dnn.training.result import RETRAINING_FILE, read_retraining, save_comparison
from tests.helpers.retrained import FINAL, retrained


def test_what_is_kept_is_read_again_and_says_how_often_the_images_were_looked_at(tmp_path):
    final = dataclasses.replace(FINAL, root=tmp_path / "test")
    paths = {name: tmp_path / name for name in ("model", "test_root", "after")}
    given = retrained(final=final, by_group=ByGroup("track", (GroupCount(0, "a", 4, 2, 0, 0),)), **paths)
    for earlier in range(3):
        kept = save_comparison(given, tmp_path)
        assert kept.final.earlier == earlier
    assert read_retraining(tmp_path / RETRAINING_FILE, tmp_path) == kept
    record = json.loads((tmp_path / RETRAINING_FILE).read_text())
    assert record["headline"] == kept.final.text
    other = dataclasses.replace(final, test_size=81, by_group=None)
    save_comparison(dataclasses.replace(given, final=other), tmp_path)
    assert read_retraining(tmp_path / RETRAINING_FILE, tmp_path).final.earlier == 0
