"""Sets written here by real TFDS builders, read back without TensorFlow."""

import io
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from jaxmeta.data import DataError, tfds

# Written and read in a process of its own: where TensorFlow can be found, importing it
# would fail this test; where it cannot, nothing may ask for it.
SCRIPT = '''
    import io, sys
    import numpy as np
    from PIL import Image
    import tensorflow_datasets as tfds

    SHAPES = {"drawn": (6, 5, 1), "coloured": (None, None, 3)}


    class Tiny(tfds.core.GeneratorBasedBuilder):
        """Offline fixture."""

        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [
            tfds.core.BuilderConfig(name=name) for name in ("drawn", "coloured", "bare")
        ]

        def _info(self):
            f = tfds.features
            x = (
                f.Tensor(shape=(3,), dtype=np.float32)
                if self.builder_config.name == "bare"
                else f.Image(shape=SHAPES[self.builder_config.name], encoding_format="png")
            )
            names = ["ant", "bee", "cow", "dog"]
            features = {"image": x, "label": f.ClassLabel(names=names), "id": np.int64}
            return tfds.core.DatasetInfo(builder=self, features=f.FeaturesDict(features))

        def _split_generators(self, manager):
            return {"train": self._generate_examples(0, 9), "test": self._generate_examples(1, 4)}

        def _generate_examples(self, seed, n):
            for i in range(n):
                yield i, {"image": self._input(seed, i), "label": i % 3, "id": i}

        def _input(self, seed, i):
            value = 100 * seed + 10 * i
            if self.builder_config.name == "bare":
                return np.full(3, value, np.float32)
            shape = (6, 5) if self.builder_config.name == "drawn" else (4 + i, 4, 3)
            file = io.BytesIO()
            Image.fromarray(np.full(shape, value, np.uint8)).save(file, "PNG")
            return io.BytesIO(file.getvalue())


    root = sys.argv[1]
    for config in ("drawn", "coloured", "bare"):
        Tiny(config=config, data_dir=root).download_and_prepare(file_format="array_record")
    from jaxmeta.data import tfds as read

    print("RESULT", read("tiny/drawn", data_dir=root, cache=False).counts.tolist())
    print("TENSORFLOW", "tensorflow" in sys.modules)
'''


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder with the prepared sets, and what the script that wrote them said."""
    root = tmp_path_factory.mktemp("tfds")
    trap = tmp_path_factory.mktemp("trap") / "tensorflow"
    trap.mkdir()
    (trap / "__init__.py").write_text("raise AssertionError('TensorFlow is imported')")
    script = root / "write.py"
    script.write_text(textwrap.dedent(SCRIPT))
    code = (
        f"import runpy, sys; sys.path.append({str(trap.parent)!r}); "
        f"sys.argv = ['write', {str(root)!r}]; runpy.run_path({str(script)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root, done.stdout


def test_tensorflow_is_not_imported(written):
    assert "RESULT [3, 3, 3]" in written[1]
    assert "TENSORFLOW False" in written[1]


def test_images_are_grouped_by_class(written, tmp_path):
    for _ in range(2):  # the second time from the cache
        data = tfds("tiny/drawn", data_dir=written[0], cache=tmp_path)
        # no example is a dog, and what no example is is no class
        assert data.names == ("ant", "bee", "cow")
        assert data.inputs.shape == (9, 6, 5, 1) and data.inputs.dtype == np.uint8
        shades = data.inputs[:, 0, 0, 0].reshape(3, 3)
        assert [sorted(s) for s in shades.tolist()] == [
            [0, 30, 60],
            [10, 40, 70],
            [20, 50, 80],
        ]
        assert (data.inputs == data.inputs[:, :1, :1]).all()
    assert len(list(tmp_path.iterdir())) == 1


def test_slices_sizes_and_tensors(written):
    data = tfds("tiny/coloured", "test", size=7, data_dir=written[0], cache=False)
    assert data.inputs.shape == (4, 7, 7, 3)
    assert sorted(data.inputs[:, 0, 0, 0].tolist()) == [100, 110, 120, 130]
    data = tfds("tiny/bare", "train[:4]", data_dir=written[0], cache=False)
    assert data.inputs.shape == (4, 3) and data.inputs.dtype == np.float32


def test_what_cannot_be_read_is_said(written):
    root = written[0]
    for name, split, options, message in [
        ("tiny/drawn", "val", {}, "split: got 'val', wants one of .*test.*"),
        ("tiny/drawn", "train", {"label": "no"}, "label: got 'no', wants one of"),
        ("tiny/drawn", "train", {"label": "id"}, "label: 'id' of tiny/drawn is a "),
        ("tiny/drawn", "train", {"inputs": "no"}, "inputs: got 'no'"),
        ("tiny/coloured", "train", {}, "size: got none, wants one"),
        ("tiny/bare", "train", {"size": 3}, "inputs: 'image' of tiny/bare is"),
        ("nowhere_to_be_found", "train", {}, "'nowhere_to_be_found' is no set"),
        ("mnist", "train", {}, "'mnist' is not prepared in .* wants the files of"),
    ]:
        with pytest.raises(DataError, match=message) as caught:
            tfds(name, split, data_dir=root, cache=False, **options)
        assert "\n" not in str(caught.value)


def test_a_damaged_image_is_named(written, monkeypatch):
    # array_record has no checks of its own on what was put into it
    import tensorflow_datasets

    builder = tensorflow_datasets.builder("tiny/drawn", data_dir=str(written[0]))
    good = list(builder.as_data_source("test", decoders={
        "image": tensorflow_datasets.decode.SkipDecoding()
    }))  # fmt: skip
    assert Image.open(io.BytesIO(good[0]["image"])).size == (5, 6)
    bad = [{**e, "image": e["image"][:40]} for e in good]
    monkeypatch.setattr(type(builder), "as_data_source", lambda *a, **k: bad)
    with pytest.raises(
        DataError, match=r"image tiny/drawn/test\[0\]: .*, wants a whole"
    ):
        tfds("tiny/drawn", "test", data_dir=written[0], cache=False)


def test_without_the_package_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # as if not installed
    with pytest.raises(DataError, match="tfds:omniglot: wants tensorflow-datasets"):
        tfds("omniglot")
