#!/usr/bin/env python3
"""The parts of the program as CycloneDX 1.5 JSON on stdout, from Cargo.lock's own graph (cargo metadata): what the shipped binary is
built from for Linux on x86-64, build scripts included, tests not. The same Cargo.lock gives the same bytes: no time, no serial number."""
import json
import re
import subprocess
import sys


def metadata():
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def checksums():
    """(name, version) -> SHA-256 of the archive, as Cargo.lock states it."""
    found = {}
    for block in open("Cargo.lock", encoding="utf-8").read().split("[[package]]"):
        field = dict(re.findall(r'^(name|version|checksum) = "(.*)"$', block, re.M))
        if "checksum" in field:
            found[field["name"], field["version"]] = field["checksum"]
    return found


def shipped(nodes, root):
    """Ids reached from the root by normal and build dependencies, and the edges between them."""
    edges, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package in edges:
            continue
        kept = [d["pkg"] for d in nodes[package]["deps"] if any(kind["kind"] != "dev" for kind in d["dep_kinds"])]
        edges[package] = sorted(set(kept))
        waiting.extend(kept)
    return edges


def main():
    data, sums = metadata(), checksums()
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    root = data["resolve"]["root"]
    edges = shipped(nodes, root)
    purl = {i: f"pkg:cargo/{packages[i]['name']}@{packages[i]['version']}" for i in edges}

    def component(i, kind):
        package = packages[i]
        entry = {"type": kind, "bom-ref": purl[i], "name": package["name"], "version": package["version"], "purl": purl[i]}
        checksum = sums.get((package["name"], package["version"]))
        if checksum:
            entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if package["license"]:
            entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        return entry

    parts = sorted((i for i in edges if i != root), key=lambda i: (packages[i]["name"], packages[i]["version"]))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root, "application")},
        "components": [component(i, "library") for i in parts],
        "dependencies": [
            {"ref": purl[i], "dependsOn": sorted(purl[to] for to in edges[i])} for i in sorted(edges, key=lambda i: purl[i])
        ],
    }
    json.dump(document, sys.stdout, indent=1, sort_keys=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
