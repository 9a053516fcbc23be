"""Tools of MCP servers: the reference server "everything", and FastMCP with arguments and results of all shapes."""

import json
import os
import re

import servers
from product import FOLDER, HERE, PYTHON, Caller, Refused

# For each tool: the calls as arguments, the status, and a pattern that the result of the tool contains.
EVERYTHING = [
    ("echo", {"message": "héllo 世界"}, "ok", "^Echo: héllo 世界$"),
    ("get-annotated-message", {"messageType": "error", "includeImage": True}, "ok", "^Error: Operation failed\n.*image/png"),
    ("get-env", {}, "ok", '"PORT"'),
    ("get-resource-links", {"count": 2}, "ok", "demo://resource/dynamic/text/2"),
    ("get-resource-reference", {"resourceType": "Text", "resourceId": 1}, "ok", "Resource 1: This is a plaintext resource"),
    ("get-resource-reference", {"resourceType": "Blob", "resourceId": 1}, "ok", "demo://resource/dynamic/blob/1"),
    ("get-structured-content", {"location": "Chicago"}, "ok", '"conditions"'),
    ("get-structured-content", {"location": "Paris"}, "error", "location"),
    ("get-sum", {"a": 2.5, "b": 3}, "ok", "is 5.5"),
    ("get-sum", {"a": "2"}, "error", "`?[ab]`?"),
    ("get-tiny-image", {}, "ok", "image/png.*\nThe image above is the MCP logo"),
    ("gzip-file-as-resource", {"name": "a.gz", "data": "data:text/plain;base64,aGVsbG8=", "outputType": "resource"}, "ok", "application/gzip"),
    ("toggle-simulated-logging", {}, "ok", "Started simulated"),
    ("toggle-subscriber-updates", {}, "ok", "Started simulated resource updated"),
    # Progress and log messages come before the result.
    ("trigger-long-running-operation", {"duration": 1, "steps": 4}, "ok", "completed. Duration: 1 seconds, Steps: 4"),
    # Runs only as a task of the protocol, which the product does not support.
    ("simulate-research-query", {"topic": "returns"}, "error", "task"),
]
CUSTOMER = {"name": "Ä", "address": {"street": "Weg 1", "zipCode": "1010"}, "color": "green", "manager": {
    "name": "B", "address": {"street": "Weg 2", "zipCode": "1020"}}}
FASTMCP = [
    ("scalars", {"text": "ü\n\"", "whole": 3, "real": 1.5, "flag": True}, "ok", r"^\('ü\\n\"', 3, 1.5, True\)$"),
    ("scalars", {"text": "x", "whole": 126.0, "real": 2, "flag": False}, "ok", r"^\('x', 126, 2.0, False\)$"),
    ("scalars", {"text": "x", "whole": 2**53 + 1, "real": 0.1, "flag": False}, "ok", "9007199254740993"),
    ("scalars", {"text": "x", "whole": 1.5, "real": 2, "flag": False}, "error", "whole"),
    ("scalars", {"text": "x"}, "error", "whole"),
    ("defaults", {}, "ok", r"^\('x', 3, None, \[1, 2\]\)$"),
    ("defaults", {"maybe": None, "items": []}, "ok", r"^\('x', 3, None, \[\]\)$"),
    ("model", {"customer": CUSTOMER}, "ok", r"^\('1010', 'green', 'B'\)$"),
    ("model", {"customer": {**CUSTOMER, "color": "blue"}}, "error", "color"),
    ("model", {"customer": {**CUSTOMER, "address": {"street": "x", "zipCode": "abc"}}}, "error", "zipCode|zip_code"),
    ("pick", {"color": "red", "size": 40}, "ok", r"^\('RED', 40\)$"),
    ("pick", {"color": "red", "size": "xl"}, "error", "size"),
    ("union", {"value": 7}, "ok", "^7$"),
    ("union", {"value": "seven"}, "ok", "^'seven'$"),
    ("union", {"value": [1, 2.5]}, "ok", r"^\[1.0, 2.5\]$"),
    ("union", {"value": None}, "ok", "^None$"),
    ("pay", {"method": {"kind": "card", "number": "4711"}}, "ok", "^'Card'$"),
    ("pay", {"method": {"kind": "transfer", "iban": "AT1"}}, "ok", "^'Transfer'$"),
    ("pay", {"method": {"kind": "cash"}}, "error", "."),
    ("bounds", {"percent": 100, "code": "EUR"}, "ok", "^100 EUR$"),
    ("bounds", {"percent": 101, "code": "EUR"}, "error", "percent"),
    ("formats", {"day": "2026-02-28", "at": "2026-02-28T12:00:00Z", "key": "00000000-0000-4000-8000-000000000000", "price": "1.50"}, "ok", "'1.50'"),
    ("mapping", {"counts": {"a": 1, "ä b": 2}, "anything": [{"deep": None}]}, "ok", r"'ä b': 2.*\[\{'deep': None\}\]"),
    ("pair", {"place": [48.2, 16.4], "unique": [3, 1]}, "ok", r"\(48.2, 16.4\), \[1, 3\]"),
    ("structured", {}, "ok", '"name": ?"Äda"'),
    ("numbers", {}, "ok", "9007199254740993"),
    ("nothing", {}, "ok", ""),
    ("picture", {}, "ok", "image/png"),
    ("sound", {}, "ok", "audio/wav"),
    ("file", {}, "ok", "Returns are free|a file"),
    ("mixed", {}, "ok", "(?s)before.*image/png.*after"),
    ("fails", {}, "error", "order 7 is locked"),
    ("crashes", {}, "error", "crashes"),
    ("slow", {}, "ok", "^done$"),
    ("samples", {}, "error", "."),
    ("elicits", {}, "error", "."),
    ("dotted.name/with-slash", {}, "ok", "^dotted$"),
    ("large", {}, "ok", "^0123456789"),
]


def everything(report, product, folder):
    program = FOLDER / "npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    # A small environment, because a tool prints it.
    environment = {"PATH": os.environ["PATH"], "PORT": "PORT"}
    server = servers.Served(["node", program, "streamableHttp"], None, folder / "everything.log", environment)
    check(report, product, server, "/mcp", EVERYTHING)


def fastmcp(report, product, folder):
    command = [PYTHON, HERE / "programs/fastmcp_server.py", "PORT"]
    server = servers.Served(command, None, folder / "fastmcp.log")
    check(report, product, server, "/mcp", FASTMCP)


def check(report, product, server, path, cases):
    caller = Caller()
    try:
        names = list(dict.fromkeys(name for name, *_ in cases))
        tool = {"type": "mcp", "name": "server", "url": server.url + path, "allow": names}
        agent = product.create(caller.definition("shapes", tools=[tool]))
        for name, arguments, status, pattern in cases:
            title = f"{name} {json.dumps(arguments, ensure_ascii=False)[:60]}"
            with report.case(title):
                # The name that the model was offered: providers do not accept all characters in it.
                offered = name if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) else next(
                    tool["function"]["name"] for tool in offered_tools(caller, product, agent) if "dotted" in tool["function"]["name"])
                (result, outcome), = caller.results(product, agent, [[offered, arguments]])
                report.expect(outcome == status and re.search(pattern, result), f"{outcome}: {result[:300]}")
    finally:
        caller.close()
        server.close()


def offered_tools(caller, product, agent):
    product.trigger(agent, [])
    return caller.tools
