#!/usr/bin/env python3
"""Writes what the binary is made of: an SBOM (CycloneDX 1.5, JSON), and the licences of all dependencies.

usage: release/dependencies.py SBOM LICENSES [--target TRIPLE]
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "aldis-server"
LICENSE_FILE = re.compile(r"^(licen[cs]e|copying|notice|unlicense)", re.IGNORECASE)


def cargo(*arguments):
    command = ["cargo", *arguments, "--locked"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def linked(target):
    """Names and versions of the packages that end up in the binary: no build, test or macro packages' dependencies."""
    tree = ["tree", "-p", PACKAGE, "-e", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]
    words = (line.split() for line in cargo(*tree, "--target", target).splitlines() if line)
    return {(name, version.removeprefix("v")) for name, version, *_ in words}


def checksums():
    """The checksums of Cargo.lock, by name and version."""
    found = {}
    for entry in (ROOT / "Cargo.lock").read_text().split("[[package]]")[1:]:
        fields = dict(re.findall(r'^(name|version|checksum) = "(.*)"$', entry, re.MULTILINE))
        found[fields["name"], fields["version"]] = fields.get("checksum")
    return found


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksum, kind="library"):
    entry = {
        "type": kind,
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package["license"]:
        # Old packages write `MIT/Apache-2.0`.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def sbom(packages, edges):
    main = next(package for package in packages if package["name"] == PACKAGE)
    known = checksums()
    references = {package["id"]: reference(package) for package in packages}
    of = lambda package: component(package, known.get((package["name"], package["version"])))
    depends = lambda package: sorted(references[to] for to in edges[package["id"]] if to in references)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(main, None, "application")},
        "components": [of(package) for package in packages if package is not main],
        "dependencies": [
            {"ref": reference(package), "dependsOn": depends(package)} for package in packages
        ],
    }


def licenses(packages):
    """One line for each package, then each licence text once, with the packages that have it."""
    lines, holders = [], {}
    for package in packages:
        if package["source"] is None:
            continue
        title = f"{package['name']} {package['version']}"
        lines.append(f"{title}: {package['license']}; {', '.join(package['authors']) or package['repository']}")
        folder = pathlib.Path(package["manifest_path"]).parent
        files = sorted(path for path in folder.iterdir() if path.is_file() and LICENSE_FILE.match(path.name))
        if not files:
            print(f"{title} has no licence file and is only named", file=sys.stderr)
        for text in {path.read_text(errors="replace").strip() for path in files}:
            holders.setdefault(text, []).append(title)
    texts = [f"{'=' * 80}\n{', '.join(titles)}\n\n{text}" for text, titles in holders.items()]
    return "\n".join(["The aldis binary contains these packages:", "", *lines, "", *texts]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sbom", type=pathlib.Path)
    parser.add_argument("licenses", type=pathlib.Path)
    parser.add_argument("--target", required=True)
    arguments = parser.parse_args()
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", arguments.target))
    wanted = linked(arguments.target)
    packages = [package for package in metadata["packages"] if (package["name"], package["version"]) in wanted]
    packages.sort(key=lambda package: (package["name"], package["version"]))
    assert len(packages) == len(wanted), "a package of the tree has no metadata"
    edges = {node["id"]: node["dependencies"] for node in metadata["resolve"]["nodes"]}
    arguments.sbom.write_text(json.dumps(sbom(packages, edges), indent=1) + "\n")
    arguments.licenses.write_text(licenses(packages))


main()
