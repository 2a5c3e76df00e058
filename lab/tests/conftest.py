"""What the laboratory's tests share with the product's: nothing is downloaded, images are drawn."""

from tests.conftest import alone, draw_folder, fake_network, few_samples, homes, plain_processor

__all__ = ["alone", "draw_folder", "fake_network", "few_samples", "homes", "plain_processor"]
