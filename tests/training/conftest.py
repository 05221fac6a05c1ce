import keras
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def fill_with_data(make_photo):
    """(folder) -> the folder, with four photographs of 40 and 48 pixels and a classifier of one layer, "maps"."""

    def fill(folder):
        (folder / "photographs").mkdir()
        for i in range(4):
            Image.fromarray(make_photo(48, 40 + 8 * (i % 2), seed=i)).save(folder / "photographs" / f"{i}.png")
        image = keras.Input((None, None, 3))
        keras.Model(image, keras.layers.Conv2D(4, 3, 2, name="maps")(image)).save(folder / "classifier.keras")
        return folder

    return fill
