import re

from lab.drawing import method
from tests.helpers.documents import TEXTS


def test_the_pictures_of_the_method_are_those_that_the_script_draws():
    shown = re.findall(r"!\[.+?\]\(method/(\w+)\.(\w+)\)", TEXTS["docs/method.md"])
    assert dict(shown) == {name: method.kind_of(name) for name in method.PLOTS}
    assert {path.name for path in method.PICTURES.iterdir()} == {f"{name}.{kind}" for name, kind in shown}
    assert all(path.stat().st_size < 300_000 for path in method.PICTURES.iterdir())


def test_the_picture_of_dbscan_shows_what_its_titles_say(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    titles = [axis.get_title() for axis in method.draw_dbscan(plt, None).axes]
    plt.close("all")
    assert [title.partition(":")[0] for title in titles] == ["eps = 0.4", "eps = 1.0", "SAFE"]
    points = method.groups_in_the_plane()
    labels = method.tune(points).labels
    assert [len(set(labels[start:stop].tolist())) for start, stop in ((0, 26), (26, 50), (50, 84))] == [1, 1, 1]
    assert len({labels[0], labels[26], labels[50]}) == 3
    assert set(labels[84:].tolist()) == {-1}


def test_without_the_example_the_script_says_how_to_build_it(tmp_path, capsys):
    assert method.main(["--case", str(tmp_path / "none"), "--work", str(tmp_path / "work")]) == 2
    assert "python -m safe_dnn.casestudies.build gd --out" in capsys.readouterr().err
