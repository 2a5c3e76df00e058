from safe_dnn.FE import stream_features
from safe_dnn.support.images import find_images


def test_batches_stream_in_order_with_skipped_images_named(fake_network, draw_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("safe_dnn.features.batches.BATCH_SIZE", 4)
    folder = draw_folder(tmp_path / "in", {"sea": 10})
    (folder / "sea_02.png").write_bytes(b"")
    for i in range(4, 8):  # a whole batch
        (folder / f"sea_{i:02d}.png").write_text("no image")
    steps = []
    batches = list(
        stream_features(
            find_images(folder), fake_network.extractor, progress=lambda what, done, total: steps.append(done)
        )
    )
    assert [batch.paths for batch in batches] == [
        ("sea_00.png", "sea_01.png", "sea_03.png"), (), ("sea_08.png", "sea_09.png"),
    ]  # fmt: skip
    assert [batch.features.shape for batch in batches] == [(n, fake_network.extractor.dimension) for n in (3, 0, 2)]
    assert batches[0].skipped == (("sea_02.png", "the file is empty"),)
    assert [path for path, _ in batches[1].skipped] == [f"sea_{i:02d}.png" for i in range(4, 8)]
    assert steps == [0, 4, 8, 10]
