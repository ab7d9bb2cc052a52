"""The project file ``carbonmap.toml``: TOML in, frozen settings out, and back.

tomllib's one owner. What each setting means stands beside what uses it; this module parses, nests
and refuses.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from carbonmap.allometry import Profile, parse_profiles
from carbonmap.config_errors import explain
from carbonmap.errors import ConfigError, MissingInput, nearest
from carbonmap.project import Project as Project
from carbonmap.regions import Region as Region
from carbonmap.regions import region_grid as region_grid
from carbonmap.settings import to_toml

FILE = "carbonmap.toml"
"""Name of the project file in a project's folder."""

ARCHIVE = "archive"
"""Folder of ingested layers, beside the project file unless it says otherwise."""

PROJECT_FILE = "project file (`carbonmap init` writes one)"

SCHEMA = TypeAdapter(Project)

T = TypeVar("T", bound=Any)


def load(path: Path | None = None, overrides: Sequence[str] = ()) -> Project:
    """The project's settings: built-in values, then the file's, then the overrides'.

    Args:
        path: the project file; None takes ``carbonmap.toml`` of the current folder where there is
            one. Relative paths in it start at its folder.
        overrides: ``key.sub=value`` each, the value in TOML or a bare word.

    Raises:
        MissingInput: there is no such file.
        ConfigError: it is not TOML, or a setting is unknown, of the wrong type or impossible.
    """
    if path is None and Path(FILE).is_file():
        path = Path(FILE)
    name = " with ".join([str(path or "built-in settings")] + ["--set"] * bool(overrides))
    raw = read_toml(path, PROJECT_FILE) if path else {}
    for override in overrides:
        _merge(raw, _parse_override(override), override)
    folder = path.resolve().parent if path else Path.cwd()
    project = _validated(raw, name, folder)
    _check_profiles(project, name)
    return project


def _check_profiles(project: Project, name: str) -> None:
    """Refuse profile tables that are wrong, used or not, and a profile that is not there."""
    try:
        parse_profiles(project.profile)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    known = profile_tables(project)
    if project.labels.profile not in known:
        raise ConfigError(
            f"{name}: labels.profile is {project.labels.profile!r}; "
            f"{nearest(project.labels.profile, known)}"
        )


def _validated(raw: dict[str, Any], name: str, folder: Path) -> Project:
    """Through JSON, whose strict reading takes lists for tuples and tables for settings."""
    document = json.dumps(_with_builtins(raw, name), default=str, ensure_ascii=False)
    try:
        document.encode()
    except UnicodeEncodeError as error:
        part = document[max(0, error.start - 20) : error.end + 20]
        raise ConfigError(f"{name}: {part!a} holds bytes that are not UTF-8") from None
    try:
        return SCHEMA.validate_json(document, context={"folder": folder})
    except ValidationError as error:
        raise ConfigError(explain(error, name, Project)) from None


def changed(settings: T, **given: Any) -> T:
    """Settings with some values replaced, as by a command's options; None leaves one as it is.

    Raises:
        ConfigError: a value is of the wrong type or impossible.
    """
    try:
        return dataclasses.replace(settings, **{k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        raise ConfigError(explain(error, "options", type(settings))) from None


def profile_tables(project: Project) -> dict[str, Any]:
    """The built-in carbon profiles and the project's own, which win, for `parse_profiles`."""
    return builtin("profiles") | project.profile


def builtin(name: str) -> dict[str, Any]:
    """A TOML file that carbonmap ships in its data folder, such as ``regions``."""
    return copy.deepcopy(_builtin(name))


@lru_cache
def _builtin(name: str) -> dict[str, Any]:
    return tomllib.loads(_shipped(name))


def _shipped(name: str) -> str:
    return (resources.files("carbonmap") / "data" / f"{name}.toml").read_text("utf-8")


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """A user's TOML file as plain tables; a byte order mark, as Windows editors write, is no error.

    Args:
        path: the file.
        what: what it is, for the messages.

    Raises:
        MissingInput: there is no such file.
        ConfigError: it is not UTF-8, or not TOML; the message names the line.
    """
    if not path.is_file():
        raise MissingInput(f"{what} {str(path)!r} is not there")
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8 in your editor") from None
    except tomllib.TOMLDecodeError as error:
        hint = "; write Windows paths with / or in 'single quotes'" if "\\" in str(error) else ""
        raise ConfigError(f"{path} is not TOML: {error}{hint}") from None


def _parse_override(text: str) -> dict[str, Any]:
    """``a.b=1`` as nested tables; what is not a TOML value is text, and so is a date."""
    key, equals, value = text.partition("=")
    try:
        tables = tomllib.loads(f"{key} = 0") if equals else {}
    except tomllib.TOMLDecodeError:
        tables = {}
    if not tables:
        raise ConfigError(f"--set {text!r} is not key=value, as in region.huize.pixel_m=16")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")
    except tomllib.TOMLDecodeError:
        parsed = {}
    leaf = parsed["value"] if set(parsed) == {"value"} else value.strip()
    return _replace_leaf(tables, leaf)


def _replace_leaf(tables: dict[str, Any], leaf: object) -> dict[str, Any]:
    return {k: _replace_leaf(v, leaf) if isinstance(v, dict) else leaf for k, v in tables.items()}


def _merge(into: dict[str, Any], new: Mapping[str, Any], source: str) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and key in into:
            if not isinstance(into[key], dict):
                raise ConfigError(f"--set {source!r}: {key!r} is a value and has no keys below it")
            _merge(into[key], value, source)
        else:
            into[key] = value


def _with_builtins(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """The tables with the built-in regions under the user's, and names put into the regions.

    A user's outline takes the place of a built-in box, and the CRS and pixel stay.
    """
    known = builtin("regions")
    regions = raw.get("region", {})
    if not isinstance(regions, dict):
        raise ConfigError(f"{name}: region must be tables such as [region.huize]")
    tables = {**known["region"], **regions}
    for key, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{name}: region.{key} must be a table [region.{key}]")
        if "name" in table:
            raise ConfigError(f"{name}: region.{key}.name is unknown; the table's key is the name")
        base = known["region"].get(key, {})
        if "bounds" in table or "boundary" in table:
            base = {k: v for k, v in base.items() if not k.startswith("bound")}
        merged = {**base, **table, "name": key}
        if isinstance(merged.get("crs"), str):
            merged["crs"] = crs_text(merged["crs"])
        tables[key] = merged
    return {"archive": ARCHIVE, **raw, "region": tables}


def dump(project: Project) -> str:
    """The settings as TOML that loads back to the equal project, paths in full."""
    tables = dataclasses.asdict(project)
    for region in tables["region"].values():
        del region["name"]
        region["crs"] = crs_name(region["crs"])
    return to_toml(tables)


def crs_name(crs: str) -> str:
    """The built-in name of a CRS, such as ``china-albers``, or the CRS itself where it has none."""
    for name, wkt in builtin("regions")["crs"].items():
        if wkt.strip() == crs:
            return str(name)
    return crs


OUTLINE = """\
# A box is no boundary: its totals hold the neighbours' land too. Give the outline instead of it:
# boundary = "boundary.gpkg"       # boundary_layer picks one of its layers, and boundary_crs tells
#                                  # the CRS of a file that states none
"""


def template(region: Region) -> str:
    """A commented project file with that one region, as ``carbonmap init`` writes it."""
    table = dataclasses.asdict(region) | {"crs": crs_name(region.crs)}
    del table["name"]
    return (
        _shipped("template")
        .replace("{name}", json.dumps(region.name, ensure_ascii=False))
        .replace("{outline}", OUTLINE if region.is_box else "")
        .replace("{table}", to_toml(table, ("region", region.name)))
    )


def region(name: str, table: Mapping[str, Any]) -> Region:
    """One region from its table, as if it stood in a project file.

    Raises:
        ConfigError: a value is unknown, of the wrong type or impossible.
    """
    return _validated({"region": {name: dict(table)}}, "options", Path.cwd()).region[name]


def crs_text(name: str) -> str:
    """A CRS from its built-in name, such as ``china-albers``, or the text itself."""
    return str(builtin("regions")["crs"].get(name, name)).strip()


def profiles(project: Project) -> dict[str, Profile]:
    """The carbon profiles that carbonmap ships, and the project's own.

    Raises:
        ConfigError: one of them is wrong.
    """
    return parse_profiles(profile_tables(project))


def recipe(path: Path) -> list[list[str]]:
    """The commands of a pipeline file, one list of words each; ``{recipe}`` is the file's folder.

    Raises:
        MissingInput: there is no such file.
        ConfigError: it is not a list of ``[[step]]`` tables with ``run = ["command", …]``.
    """
    steps = read_toml(path, "pipeline").get("step")
    if not isinstance(steps, list) or not steps:
        raise ConfigError(
            f'{path}: a pipeline is a list of [[step]] tables with run = ["command", …]'
        )
    for number, step in enumerate(steps, 1):
        words = step.get("run") if isinstance(step, dict) else None
        if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
            raise ConfigError(f'{path}: step {number} needs run = ["command", …], all of it text')
        if extra := set(step) - {"run"}:
            raise ConfigError(f"{path}: step {number} has {sorted(extra)}; {nearest('', ['run'])}")
    here = path.absolute().parent.as_posix()
    return [[word.replace("{recipe}", here) for word in step["run"]] for step in steps]
