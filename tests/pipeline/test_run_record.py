from safe_dnn.pipeline.run_record import given_parameters, given_predictions, notes_of, nuisance_of
from safe_dnn.rccs.clusters import save_clusters


def test_tables_that_safe_found_by_itself_are_not_those_that_were_given(clusters, tmp_path):
    for given in (False, True):
        entry = {"source": "/a.csv", "tested": "/test", "given": given, "notes": ["2 of 9 rows"]}
        out = tmp_path / str(given)
        save_clusters(clusters, out, more={"predictions": entry, "parameters": {**entry, "notes": []}})
        assert given_predictions(out) == (("/a.csv", "/test") if given else ("", ""))
        assert given_parameters(out) == ("/a.csv" if given else "")
        assert notes_of(out) == ["predictions: 2 of 9 rows"]
        assert nuisance_of(out) is None


def test_of_a_folder_without_clusters_nothing_is_known(tmp_path):
    assert (given_predictions(tmp_path), given_parameters(tmp_path), notes_of(tmp_path)) == (("", ""), "", [])
