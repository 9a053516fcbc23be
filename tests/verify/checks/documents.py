"""Check 6, PDF: the child process that reads a PDF runs in Lambda."""

import time

from verify.agents import wait_for_ends
from verify.results import judge, only_on_aws

CHECK = "pdf"
# API Gateway waits 30 s.
LONGEST = 25
WORD = "zanzibar"


def run(context):
    target, pages = context.target, context.choose(400, 40)
    # No model: the answer is the best passage of the document.
    agent = context.agents.create("pdf")
    document = pdf([[f"Page {page} of the verification.", f"The {WORD} parcel leaves on day {page}." if page == pages // 2 else "Nothing else."]
                    * 20 for page in range(pages)])
    milliseconds, status, text = upload(target, agent, "large.pdf", document)
    problems = [] if status == 201 else [f"a PDF of {pages} pages was answered {status}: {text}"]
    if milliseconds > 1000 * LONGEST:
        problems.append(f"reading it took {milliseconds / 1000:.1f} s of the gateway's 30 s")
    if status == 201:
        # Functions read an agent again after AgentCacheSeconds.
        time.sleep(int(target.parameters.get("AgentCacheSeconds", 10)) + 1)
        answer = target.call("POST", agent.path, json={"question": f"When does the {WORD} parcel leave?"})
        end = wait_for_ends(target, [answer.json()["task_id"]], 60).popitem()[1]
        if WORD not in str(end.get("result")):
            problems.append(f"the answer has nothing of the document: {str(end)[:200]}")
    broken_ms, broken, said = upload(target, agent, "broken.pdf", document[:len(document) // 3] + b"\0" * 1000)
    if broken != 422 and broken != 201:
        problems.append(f"a damaged PDF was answered {broken}: {said}")
    yield only_on_aws(judge(CHECK, "Does the PDF reader's child process run in Lambda?", problems,
                            f"a PDF of {pages} pages, {len(document) // 1024} KiB, was read in {milliseconds / 1000:.1f} s",
                            [f"a damaged PDF was answered {broken} after {broken_ms / 1000:.1f} s: {said}"],
                            {"PDF upload (ms)": round(milliseconds)}), target.is_emulator)


def upload(target, agent, name, data):
    began = time.monotonic()
    answer = target.manage("POST", f"/api/agents/{agent.agent_id}/sources", params={"title": name}, data=data,
                           headers={"Content-Type": "application/pdf"})
    return 1000 * (time.monotonic() - began), answer.status_code, answer.text[:200]


def pdf(pages):
    """A PDF with one line of text per string, written by hand: no library is needed to make it."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", None, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for lines in pages:
        text = "BT /F1 12 Tf 14 TL 72 760 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
        kids.append(len(objects) + 1)
        objects.append("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
                       f"/Contents {len(objects) + 2} 0 R >>")
        objects.append(f"<< /Length {len(text)} >>\nstream\n{text}\nendstream")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>"
    written, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(written))
        written += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(written)}\n%%EOF\n"
    return written + (table + trailer).encode()
