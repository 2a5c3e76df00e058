from safe_dnn.pipeline.exports import export_here
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import names_in
from tests.helpers.troubles import Disk, Trouble


def test_an_export_on_a_full_disk_is_an_error_in_a_sentence_and_leaves_nothing(out, monkeypatch):
    before, disk, refused = names_in(out), Disk(monkeypatch), []
    while True:
        with disk.trouble(Trouble("full", len(refused))):
            try:
                export_here(out)
                break
            except SAFEError as error:
                refused.append(str(error))
        assert names_in(out) == before, refused[-1]
    assert len(refused) > 5
