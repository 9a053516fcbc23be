"""Clients that the generators of others make of openapi.json as it is, without an option. tests/openapi/clients uses them; this checks their types."""

import shutil
import subprocess

from install import npm_ci
from product import ADMIN_TOKEN, FOLDER, ROOT

DOCUMENT = ROOT / "openapi.json"
CONSOLE = ROOT / ".tools/console/bin"
PACKAGES = FOLDER / "openapi/node_modules"
TYPESCRIPT = {
    "`enabled` is optional in a new agent": 'const agent: S["NewAgent"] = { name: "x" };',
    "limits are optional one by one": 'const agent: S["NewAgent"] = { name: "x", limits: { max_turns: 3 } };',
    "a change of one field": 'const patch: S["AgentPatch"] = { prompt: null };',
    "`result` is an answer after SUCCESS": 'function f(task: S["TaskStatus"]): string { return task.status === "SUCCESS" ? task.result.result.answer : ""; }',
    "`error` is there after FAILURE": 'function f(task: S["TaskStatus"]): string { return task.status === "FAILURE" ? task.error.message : ""; }',
    "the upload of a PDF": 'const call = (pdf: Blob) => client.POST("/api/agents/{id}/sources", { params: { path: { id: "" }, query: { source: "a.pdf" } }, '
                           'body: pdf as unknown as string, bodySerializer: (body) => body, headers: { "Content-Type": "application/pdf" } });',
    "a wrong field is an error": '// @ts-expect-error\nconst agent: S["NewAgent"] = { name: "x", nome: "y" };',
}
PYTHON = {
    "a new agent with a name only": "assert new().enabled",
    "the answer of a task": "assert answered().result.result.answer",
    "the upload of a text": "assert upload(b'Terms may change.', 'text/plain', 'terms.txt')",
    "the upload of a PDF": "assert upload(PDF, 'application/pdf', 'a.pdf')",
}
PRELUDE = """
import sys, time
from io import BytesIO
from client import AuthenticatedClient, Client
from client.api.agents import create_agent
from client.api.documents import list_documents, upload_document
from client.api.webhooks import get_task_status, trigger_agent
from client.models import NewAgent, Source, Status
from client.types import File
url, token, pdf = sys.argv[1:]
PDF = open(pdf, 'rb').read()
owner, anonymous = AuthenticatedClient(url, token, raise_on_unexpected_status=True), Client(url, raise_on_unexpected_status=True)

def new():
    return create_agent.sync(client=owner, body=NewAgent(name='python', sources=[Source(title='Returns', text='Returns are free.')]))

def answered():
    task = trigger_agent.sync(new().webhook_url.rsplit('/', 1)[1], client=anonymous, body={'question': 'returns'})
    while (status := get_task_status.sync(client=anonymous, task_id=task.task_id)).status not in (Status.SUCCESS, Status.FAILURE):
        time.sleep(0.05)
    return status

def upload(content, kind, name):
    agent = new()
    upload_document.sync(agent.agent_id, client=owner, source=name, body=File(payload=BytesIO(content), file_name=name, mime_type=kind))
    return list_documents.sync(agent.agent_id, client=owner).sources
"""


def install_packages():
    """Those of tests/openapi, as locked."""
    subprocess.run([ROOT / "tests/console/install"], check=True)
    npm_ci(ROOT / "tests/openapi/typescript", PACKAGES.parent)


def run(report, product, folder):
    typescript(report, folder)
    python(report, product, folder)


def typescript(report, folder):
    work = folder / "typescript"
    work.mkdir()
    (work / "node_modules").symlink_to(PACKAGES)
    shutil.copy(ROOT / "tests/openapi/typescript/tsconfig.json", work)
    (work / "package.json").write_text('{"type": "module"}')
    with report.case("openapi-typescript"):
        made = command(work, PACKAGES / ".bin/openapi-typescript", DOCUMENT, "--output", "schema.d.ts")
        report.expect(made.returncode == 0, made.stdout)
    start = 'import createClient from "openapi-fetch";\nimport type { components, paths } from "./schema.d.ts";\n' \
            'type S = components["schemas"];\nexport const client = createClient<paths>({ baseUrl: "" });\n'
    for title, program in TYPESCRIPT.items():
        with report.case(f"TypeScript: {title}"):
            (work / "smoke.ts").write_text(start + program.replace("const ", "export const ", 1).replace("function ", "export function ", 1))
            done = command(work, PACKAGES / ".bin/tsc", "--project", work)
            report.expect(done.returncode == 0, done.stdout[:600])


def python(report, product, folder):
    with report.case("openapi-python-client"):
        done = command(folder, CONSOLE / "openapi-python-client", "generate", "--path", DOCUMENT, "--meta", "none", "--output-path", folder / "client")
        report.expect(done.returncode == 0 and "WARNING" not in done.stdout, done.stdout[:600])
    pdf = folder / "a.pdf"
    pdf.write_bytes(small_pdf())
    for title, program in PYTHON.items():
        with report.case(f"Python: {title}"):
            (folder / "smoke.py").write_text(PRELUDE + program)
            done = command(folder, CONSOLE / "python", "smoke.py", product.url, ADMIN_TOKEN, pdf)
            report.expect(done.returncode == 0, done.stdout[-600:])


def command(folder, *parts):
    path = {"PATH": f"{CONSOLE}:/usr/bin:/bin"}
    return subprocess.run([str(part) for part in parts], cwd=folder, env=path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def small_pdf():
    content = b"BT /F1 12 Tf 72 720 Td (Returns are free for thirty days.) Tj ET"
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
               b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
               b"<</Length %d>>stream\n%s\nendstream" % (len(content), content), b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    whole, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(whole))
        whole += b"%d 0 obj" % number + body + b"endobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return whole + b"xref\n0 6\n0000000000 65535 f \n" + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(whole)
