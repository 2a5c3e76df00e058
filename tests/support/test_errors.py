"""The error that each door words."""

import pickle

from safe_dnn.support.errors import SAFEError

ERROR = SAFEError("Received a regression. Give the targets and a threshold.").about("targets", "threshold")


def test_an_error_names_its_fields_as_they_are_called_where_it_is_shown():
    assert ERROR.named({"threshold": "-e", "targets": "-t"}) == f"{ERROR}"[:-1] + " (-t, -e)."
    assert ERROR.named({"threshold": "-e"}) == "Received a regression. Give the targets and a threshold (-e)."
    assert ERROR.named({"size": "-n"}) == str(ERROR)
    assert SAFEError("Is it trained?").about("size").named({"size": "-n"}) == "Is it trained (-n)?"


def test_an_error_keeps_its_fields_from_one_process_to_another():
    assert pickle.loads(pickle.dumps(ERROR)).fields == ERROR.fields
