"""The source of a study's plug-ins as one file, which travels with the study to whatever process runs it."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from kd_sweep.catalogue.source import digest_of_files, plugin_folder, source_files
from kd_sweep.errors import CorruptFileError

_DATE = (2000, 1, 1, 0, 0, 0)
"""Of all files in it: the same source is the same file."""


@dataclass(frozen=True)
class PluginBundle:
    """The files that the plug-ins of a study are made of."""

    files: Mapping[str, bytes]
    """By their path below the folder that is searched for modules: `mykd/losses.py`."""

    @classmethod
    def of_modules(cls, modules: Sequence[str]) -> "PluginBundle":
        """Return the bundle of modules that can be imported here: their files, and those of theirs that they import."""
        files = {}
        for module in modules:
            folder = plugin_folder(module)
            for path in source_files(module).values():
                assert folder is not None  # else the module has no files
                files[path.relative_to(folder).as_posix()] = path.read_bytes()
        return cls(files)

    @classmethod
    def of_zip(cls, content: bytes, digest: str, source: str) -> "PluginBundle":
        """Return the bundle that `zipped` wrote.

        Args:
            content: of the file.
            digest: that it must have.
            source: what messages call the file.

        Raises:
            CorruptFileError: it is not that bundle.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                bundle = cls({name: archive.read(name) for name in archive.namelist()})
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise CorruptFileError(f"{source}: is damaged ({error})") from None
        if bundle.digest != digest:
            raise CorruptFileError(f"{source}: is damaged: its digest is {bundle.digest}")
        return bundle

    @cached_property
    def digest(self) -> str:
        """Of names and content."""
        return digest_of_files(self.files)

    def zipped(self) -> bytes:
        """Return it as the content of a ZIP file."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(self.files.items()):
                archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()

    def unpack(self, folder: Path) -> None:
        """Write the files below a folder."""
        for name, content in self.files.items():
            path = folder / PurePosixPath(name)
            if ".." in path.parts:
                raise CorruptFileError(f"{name}: leads out of the folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
