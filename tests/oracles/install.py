"""What the oracles need: pinned packages of PyPI and npm, and programs of Debian."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv

from product import FOLDER, HERE

# Programs that make PDFs, and fonts for their scripts.
DEBIAN = ["abiword", "fonts-dejavu-core", "fonts-freefont-ttf", "fonts-noto-cjk", "fop", "ghostscript", "gnumeric", "groff",
          "inkscape", "libpdf-api2-perl", "libreoffice-calc-nogui", "libreoffice-impress-nogui", "libreoffice-writer-nogui",
          "librsvg2-bin", "lmodern", "paps", "pdftk-java", "php-cli", "php-tcpdf", "poppler-utils", "qpdf", "ruby",
          "ruby-prawn",
          "tesseract-ocr", "texlive-fonts-recommended", "texlive-latex-base", "texlive-xetex", "wkhtmltopdf"]


def python():
    """Only files whose hashes are listed, and no code of theirs runs while installing."""
    lock = HERE / "requirements.lock"
    once(FOLDER / "venv", lock.read_bytes(), lambda folder: (
        venv.create(folder, with_pip=True, clear=True),
        subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
                        "--only-binary", ":all:", "--requirement", lock], check=True)))


def npm():
    npm_ci(HERE, FOLDER / "npm")


def npm_ci(source, target):
    """As locked, each package by its checksum, and none of their scripts."""
    def install(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                       cwd=folder, stdout=sys.stderr, check=True)
    once(target, (source / "package-lock.json").read_bytes(), install)


def debian():
    """Installs them if this user may. The PDFs of a missing program are skipped, and the table says so."""
    known = subprocess.run(["dpkg-query", "--show", "--showformat", "${Package} ${Status}\n", *DEBIAN], capture_output=True, text=True)
    missing = [name for name in DEBIAN if f"{name} install ok installed" not in known.stdout.splitlines()]
    if missing and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *missing]):
            subprocess.run([*command, "--quiet", "--quiet"], env=environment, stdout=sys.stderr, check=True)


def once(folder, wanted, install):
    """`folder` has a file with the hash of what was installed."""
    digest, mark = hashlib.sha256(wanted).hexdigest(), folder / "installed"
    if mark.exists() and mark.read_text() == digest:
        return
    print(f"installing into {folder}", file=sys.stderr)
    install(folder)
    mark.write_text(digest)
