"""The register and the scope on the page: what is filled in is kept, and not over what was changed elsewhere."""

import dataclasses

import pytest

from safe_dnn.page.safety_case.tab import FIXED, RegisterView
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.review.journal import REGISTER, Note, Scope, newest
from safe_dnn.rccs.review.review import load_review, load_scope, set_note
from safe_dnn.support.errors import SAFEError
from tests.helpers.laid_out import laid_out, settings_of


@pytest.fixture
def case(clusters, tmp_path):
    out = tmp_path / "out"
    save_clusters(clusters, out)
    return out, laid_out(lambda: RegisterView(settings_of(out)))


def test_a_cell_that_is_filled_in_is_kept_and_not_over_what_was_changed_elsewhere(case):
    out, view = case
    state = view.show()
    shown, rows = state[view.table], state[view._rows]
    assert [row[0] for row in shown] == ["RCC 0", "RCC 1", "RCC 2"]
    at = len(FIXED) + list(REGISTER).index("hazard")
    typed = [[*row] for row in shown]
    typed[1][at] = " H3  Gaze lost "
    seen, rows = view._on_register("ann", newest(out), rows, typed).values()
    assert load_review(out).notes == {1: Note(1, hazard="H3 Gaze lost")}
    assert rows["RCC 1"][1][at] == "H3 Gaze lost"
    typed[0][len(FIXED) + list(REGISTER).index("status")] = "done"
    with pytest.raises(SAFEError, match="Status must be open"):
        view._on_register("ann", seen, rows, typed)
    set_note(out, Note(2, hazard="theirs"))
    typed[0][-1], typed[0][len(FIXED) + list(REGISTER).index("status")] = "confirmed", ""
    with pytest.raises(SAFEError, match="Changed elsewhere"):
        view._on_register("ann", seen, rows, typed)
    assert load_review(out).notes[2].hazard == "theirs"
    assert view.show()[view.table][2][at] == "theirs"


def test_a_cell_is_about_the_images_that_the_window_shows_whatever_their_rcc_is_called_by_now(case, clusters):
    out, view = case
    state, hazard = view.show(), len(FIXED) + list(REGISTER).index("hazard")
    save_clusters(dataclasses.replace(clusters, labels=(clusters.labels + 1) % 3), out)  # generated again elsewhere
    typed = [[*row] for row in state[view.table]]
    typed[0][hazard] = "H3"
    _, rows = view._on_register("ann", newest(out), state[view._rows], typed).values()
    assert load_review(out).notes == {1: Note(1, hazard="H3")}
    typed[2][hazard] = "H4"  # its images form no RCC any more
    with pytest.raises(SAFEError, match="Changed elsewhere"):
        view._on_register("ann", newest(out), rows, typed)
    assert load_review(out).notes == {1: Note(1, hazard="H3")}


def test_a_scope_is_kept_as_it_is_typed_and_not_over_what_was_changed_elsewhere(case):
    out, view = case
    texts = [*Scope()]
    texts[1] = " a warning "
    seen = view._on_scope("ann", 0, *texts)
    assert load_scope(out)[0] == Scope(use="a warning")
    texts[1] = "a warning alone"
    assert view._on_scope("ann", 0, *texts) > seen  # its own
    with pytest.raises(SAFEError, match="Changed elsewhere"):
        view._on_scope("bob", 0, *Scope(use="control"))
    with pytest.raises(SAFEError, match="may have 2,000 characters"):
        view._on_scope("ann", 0, *Scope(use="s" * 2_001))
    assert load_scope(out)[0] == Scope(use="a warning alone")
