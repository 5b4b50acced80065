"""Files that were made to harm: they are refused by name, and nothing in them runs."""

import contextlib
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxmeta import data
from jaxmeta.data.archives import extract
from jaxmeta.data.cache import cached
from jaxmeta.runs import checkpoints, folder, load
from jaxmeta.runs.errors import ConfigError, RunError
from tests.scorecard.inputs import call
from tests.scorecard.old import COMMANDS
from tests.scorecard.score import Score, Tally, scratch
from tests.scorecard.storage import LIKE, saved

TYPED = (data.DataError, ConfigError, RunError)

# Protocol 0 of pickle for `os.system("touch <canary>")`, written by hand: no byte of this
# package makes a pickle.
_PICKLE = "cos\nsystem\n(S'touch {}'\ntR."

_SOURCE = "import pathlib\n\npathlib.Path({0!r}).touch()\n\n\ndef mine(*args): ...\n"
GLYPHS = {"package": "glyphs-protonet-5w1s"}


def no_exec() -> Score:
    """NO-EXEC: 33 hostile files, each opened the way a user would: a typed error or
    harmless data, no file outside its folder, and no canary."""
    tally = Tally()
    for number, (name, case) in enumerate(_cases().items()):
        with scratch() as root:
            canary, inner = root / "canary", root / "inner"
            inner.mkdir()
            before = {p for p in root.rglob("*")}
            try:
                case(inner, canary)
                said = "took it"
            except TYPED as error:
                said = str(error)
            except Exception as error:
                said = f"UNTYPED {type(error).__name__}: {error}"
            after = {p for p in root.rglob("*") if inner not in p.parents}
            good = "UNTYPED" not in said and after <= before and not canary.exists()
            tally.add(good, f"{number + 1} {name}: {said[:120]}")
    return tally.score("0 canaries" if not tally.failures else "")


def _cases() -> dict[str, Callable[[Path, Path], object]]:
    def pickle_of(canary: Path) -> bytes:
        return _PICKLE.format(canary).encode()

    def as_cache(content: Callable[[Path], bytes]):
        def case(inner: Path, canary: Path):
            import warnings

            good = data.from_counts(np.arange(3), [3], ("a",))
            cached("x", "key", lambda: good, inner)
            file = next(inner.glob("x-*.npz"))
            file.write_bytes(content(canary))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert cached("x", "key", lambda: good, inner) is good

        return case

    def object_npz(canary: Path) -> bytes:
        payload = _npy_header("|O", (1,)) + pickle_of(canary)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as file:
            for name in ("inputs", "counts", "names", "sha256"):
                file.writestr(f"{name}.npy", payload)
        return out.getvalue()

    def header_bomb(shape: tuple) -> Callable[[Path], bytes]:
        def content(canary: Path) -> bytes:
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as file:
                for name in ("inputs", "counts", "names", "sha256"):
                    file.writestr(f"{name}.npy", _npy_header("<f8", shape))
            return out.getvalue()

        return content

    def config(values: object, raw: bool = False):
        def case(inner: Path, canary: Path):
            text = values if raw else json.dumps(values)
            text = str(text).replace("CANARY", str(canary))
            (inner / "config.json").write_text(text)
            load(inner)

        return case

    def run_of(recipe: dict, **options: object):
        """A run folder that names code, which lies beside it and in the current folder;
        opened in Python and by every command."""

        def case(inner: Path, canary: Path):
            with contextlib.chdir(inner):
                (inner / "evil.py").write_text(_SOURCE.format(str(canary)))
                parts = {"recipe": recipe, "options": options, "settings": {}}
                whole = {"format": folder.FORMAT, "version": "0.2", **parts}
                text = json.dumps(whole).replace("FOLDER", str(inner))
                (inner / "config.json").write_text(text)
                for words in COMMANDS:
                    status, said = call([word.format(run=inner) for word in words])
                    if status != 2 or said.count("\n") != 1:
                        raise RuntimeError(f"{words}: status {status}, {said}")
                load(inner)

        return case

    def tar_with(**fields):
        def case(inner: Path, canary: Path):
            with tarfile.open(inner / "a.tar", "w") as tar:
                for name in fields.get("names", ["x"]):
                    info = tarfile.TarInfo(name.replace("CANARY", str(canary)))
                    info.type = fields.get("type", tarfile.REGTYPE)
                    info.linkname = fields.get("link", "").replace(
                        "CANARY", str(canary)
                    )
                    info.size = 2 if info.isreg() else 0
                    tar.addfile(info, io.BytesIO(b"hi") if info.isreg() else None)
            extract(inner / "a.tar", inner / "out")
            raise RuntimeError("unpacked it")

        return case

    def zip_with(*names: str, mode: int = 0, content: bytes = b"hi"):
        def case(inner: Path, canary: Path):
            import warnings

            with (
                warnings.catch_warnings(),
                zipfile.ZipFile(inner / "a.zip", "w", zipfile.ZIP_DEFLATED) as file,
            ):
                warnings.simplefilter("ignore")  # of a name that is there twice
                for name in names:
                    info = zipfile.ZipInfo(name.replace("CANARY", str(canary)))
                    info.external_attr = mode << 16
                    info.compress_type = zipfile.ZIP_DEFLATED
                    file.writestr(info, content)
            extract(inner / "a.zip", inner / "out")
            raise RuntimeError("unpacked it")

        return case

    def as_image(content: Callable[[Path], bytes], name: str = "x.png"):
        def case(inner: Path, canary: Path):
            (inner / "a").mkdir()
            (inner / "a" / name).write_bytes(content(canary))
            data.image_folder(inner)

        return case

    def step_file(name: str, content: Callable[[Path], bytes]):
        def case(inner: Path, canary: Path):
            import warnings

            steps = saved(inner, (1,))
            (steps / "00000001" / name).write_bytes(content(canary))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                checkpoints.restore(steps, LIKE)
            raise RuntimeError("restored it")

        return case

    yaml = "!!python/object/apply:os.system ['touch CANARY']"
    return {
        "pickle for a cache": as_cache(pickle_of),
        "object array in a cache": as_cache(object_npz),
        "header that asks for an exabyte": as_cache(header_bomb((2**60,))),
        "header of negative shape": as_cache(header_bomb((-1,))),
        "cache of zeros": as_cache(lambda canary: bytes(100)),
        "pickle for a config": config(_PICKLE.replace("{}", "CANARY"), raw=True),
        "YAML tag for a config": config(yaml, raw=True),
        "import string for a learner": run_of(GLYPHS, learner="os.system"),
        "code for a learner": run_of(
            GLYPHS, learner="__import__('os').system('touch CANARY')"
        ),
        "file and function for a recipe": run_of(
            {"file": "evil.py", "function": "mine", "sha256": "0" * 64}
        ),
        "path of a file for a recipe": run_of(
            {"file": "FOLDER/evil.py", "function": "mine", "sha256": ""}
        ),
        "FILE.py:FUNCTION for a recipe of the package": run_of(
            {"package": "FOLDER/evil.py:mine"}
        ),
        "module and function for a recipe": run_of({"package": "os:system"}),
        "module for a recipe": run_of({"package": "evil"}),
        "function of Python for a recipe": run_of({"python": "evil.mine"}),
        "file for a network": run_of(
            GLYPHS, network={"file": "evil.py", "function": "mine", "sha256": ""}
        ),
        "FILE.py:FUNCTION for a network": run_of(GLYPHS, network="FOLDER/evil.py:mine"),
        "nested 100,000 deep": config("[" * 100_000, raw=True),
        "number of 5,000 digits": config('{"recipe": ' + "9" * 5000 + "}", raw=True),
        "zip slip": zip_with("../escaped"),
        "zip with an absolute name": zip_with("/CANARY"),
        "zip with a drive letter": zip_with("C:\\escaped"),
        "zip with back slashes": zip_with("..\\..\\escaped"),
        "zip with a link": zip_with("x", mode=0o120777),
        "zip with a name twice": zip_with("x", "X"),
        "zip bomb": zip_with("x", content=bytes(50_000_000)),
        "tar with a link": tar_with(type=tarfile.SYMTYPE, link="CANARY"),
        "tar with a hard link": tar_with(type=tarfile.LNKTYPE, link="CANARY"),
        "tar with an absolute name": tar_with(names=["CANARY"]),
        "tar with a parent": tar_with(names=["a/../../escaped"]),
        "tar with a device": tar_with(type=tarfile.CHRTYPE),
        "pickle for an image": as_image(pickle_of),
        "pickle among the arrays of a step": step_file("arrays/more", pickle_of),
    }


def _npy_header(kind: str, shape: tuple) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape!r}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
