"""An API by the OpenAPI document that FastAPI writes: imported with the command, and each operation called through an agent."""

import json
import re

import servers
from product import HERE, PYTHON, Caller

KEY = "sesame-open-0123"
ITEM = {"name": "Käse", "price": 1.5, "size": "l", "parts": [{"name": "rind", "price": 0.1}], "labels": {"a b": "c&d"}}
# For each operation: its path in the document, the arguments, the status of the call and a pattern of its result.
CASES = [
    ("path_parameters", {"number": 126.0, "name": "a ?#ü"}, "ok", '"number":126,"name":"a \\?#ü"'),
    ("path_parameters", {"number": 1.5, "name": "a"}, "error", "number"),
    ("path_with_slashes", {"rest": "a/b.txt"}, "ok", '"rest":"a/b.txt"'),
    ("query_parameters", {"q": "a&b=c ü+"}, "ok", r'"q":"a&b=c ü\+","page":1,"exact":false,"size":null,"ratio":null'),
    ("query_parameters", {"q": "", "page": 2, "exact": True, "size": "l", "ratio": 0.25}, "ok",
     '"q":"","page":2,"exact":true,"size":"l","ratio":0.25'),
    ("query_parameters", {"q": "x", "size": None, "ratio": None}, "ok", '"size":null,"ratio":null'),
    ("query_parameters", {"q": "x", "size": "xl"}, "error", "size"),
    ("query_list", {"ids": [1, 2], "word": ["a,b", "c d"]}, "ok", r'"ids":\[1,2\],"words":\["a,b","c d"\]'),
    ("query_list", {"ids": [7]}, "ok", r'"ids":\[7\],"words":\[\]'),
    ("query_model", {"limit": 5, "order_by": "updated", "tags": ["x", "y"]}, "ok", '"limit":5,"order_by":"updated","tags":."x","y".'),
    ("query_alias", {"item-query": "fixedquery"}, "ok", '"item":"fixedquery"'),
    ("query_alias", {"item-query": "other"}, "error", "item-query"),
    ("header_parameters", {"x-trace": "t-1", "x-many": 3}, "ok", '"x_trace":"t-1","x_many":3'),
    ("cookie_optional", {}, "ok", '"session":null'),
    ("create_item", ITEM, "ok", '"name":"Käse","price":1.5,"size":"l"'),
    ("create_item", {"name": "x", "price": 0}, "error", "price"),
    ("create_item", {"name": "x", "price": 1, "item_id": 3}, "error", "item_id"),
    ("update_item", {"item_id": 7, "notify": True, **ITEM}, "ok", '"item_id":7,"notify":true'),
    # The path and the body have a field of the same name.
    ("rename_item", {"name": "old", "body": {"name": "new", "price": 1}}, "ok", '"path":"old","body":"new"'),
    ("patch_item", {"item_id": 7, "body": {"any": [None, 1.50]}}, "ok", r'"any":\[null,1.5'),
    ("two_bodies", {"item": ITEM, "user": {"id": "u"}, "importance": 5}, "ok", '"item":"Käse","user":{"id":"u"},"importance":5'),
    ("embedded", {"item": ITEM}, "ok", '"name":"Käse"'),
    ("list_body", {"body": [1, 2, 39]}, "ok", '"sum":42'),
    ("scalar_body", {"body": "grüß"}, "ok", '"text":"grüß"'),
    ("union_body", {"body": {"kind": "cat", "lives": 9}}, "ok", '"is":"Cat"'),
    ("form_body", {"name": "A & B=ü", "age": 3, "colors": ["red", "blue"]}, "ok", '"name":"A & B=ü","age":3,"colors":."red","blue".'),
    ("form_body", {"name": "x"}, "ok", '"age":0,"colors":..'),
    ("delete_item", {"item_id": 3}, "ok", ""),
    ("error", {"status": 404}, "error", "(?s)404.*on request"),
    ("error", {"status": 422}, "error", "(?s)422.*on request"),
    ("error", {"status": 500}, "error", "(?s)500.*on request"),
    ("text", {}, "ok", "^Grüße, 世界$"),
    ("stream", {}, "ok", "^line 0\nline 1\nline 2\n$"),
    ("key_header", {}, "ok", '"authenticated":true'),
    ("redirect", {}, "error", "307"),
    ("head", {}, "ok", ""),
    ("deep_object", {"filter": {"state": "a b", "min": 3}}, "ok", r"^/deep\?filter(\[|%5B)state(\]|%5D)=a(%20|\+)b&filter(\[|%5B)min(\]|%5D)=3$"),
    ("styles", {"ids": [1, 2], "pipes": ["a", "b"], "commas": ["x", "y"], "json": {"min": 1}}, "ok",
     r"^/styles/1,2\?pipes=a(\||%7C)b&commas=x,y&json=%7B%22min%22(:|%3A)1%7D$"),
    ("styles", {"ids": [5], "object": {"state": "new", "min": 2}}, "ok", r"^/styles/5\?state=new&min=2$"),
]
# What the import leaves out, and words of its reason.
LEFT_OUT = {"cookie_required": "cookie", "upload": "multipart/form-data", "key_query": "api_key"}


def run(report, product, folder):
    server = servers.Served([PYTHON, HERE / "programs/fastapi_app.py", "PORT"], "/openapi.json", folder / "fastapi.log")
    caller = Caller()
    try:
        agent = product.create(caller.definition("shapes"))
        product.admin("PUT", "/api/secrets/key", {"value": KEY})
        names = import_document(report, product, server, folder)
        for operation, arguments, status, pattern in CASES:
            with report.case(f"{operation} {json.dumps(arguments, ensure_ascii=False)[:70]}"):
                name = next((name for name in names if re.match(operation + "(_|$)", name)), operation)
                (result, outcome), = caller.results(product, agent, [[name, arguments]])
                report.expect(outcome == status and re.search(pattern, result), f"{outcome}: {result[:300]}")
        bearer(report, product, server, folder, caller)
        with report.case("no operation is without a case"):
            tried = {operation for operation, *_ in CASES} | set(LEFT_OUT) | {"bearer"}
            report.expect(all(any(re.match(one + "(_|$)", name) for one in tried) for name in names), names)
    finally:
        caller.close()
        server.close()


def import_document(report, product, server, folder):
    document = folder / "openapi.json"
    document.write_bytes(servers.fetch(f"{server.url}/openapi.json"))
    with report.case("the import"):
        code, printed, errors = product.command(
            "agent", "tool", "add", "shapes", "--openapi", document, "--base-url", server.url, "--name", "api",
            "--secret-header", "X-Key: {key}", "--json")
        report.expect(code == 0, errors)
        left_out = {each["operation"]: each["reason"] for each in json.loads(printed)["left_out"]}
        for operation, word in LEFT_OUT.items():
            reason = next((reason for name, reason in left_out.items() if name.startswith(operation)), "imported")
            report.expect(word in reason, f"{operation}: {reason}")
        report.expect(len(left_out) == len(LEFT_OUT), left_out)
    with report.case("the import by URL, again, gets names of its own"):
        code, printed, errors = product.command("agent", "tool", "add", "shapes", "--openapi", f"{server.url}/openapi.json",
                                                "--allow", "text_text_get,delete_item_items__item_id__delete")
        report.expect(code == 0, errors)
    tools = json.loads(product.command("agent", "tool", "list", "shapes", "--json")[1])["tools"]
    names = [[operation["name"] for operation in tool["operations"]] for tool in tools]
    with report.case("operations of a second import do not hide those of the first"):
        report.expect(len(tools) == 2 and len(set(sum(names, []))) == len(sum(names, [])), names)
    with report.case("the model is not asked for a read-only field"):
        create = next(operation for operation in tools[0]["operations"] if operation["name"].startswith("create_item"))
        report.expect("item_id" not in create["parameters"]["properties"], create["parameters"])
    return names[0]


def bearer(report, product, server, folder, caller):
    """A tool of its own, because it needs another header."""
    agent = product.create(caller.definition("bearer"))
    with report.case("bearer"):
        allow = next(operation["operationId"] for operation in json.loads((folder / "openapi.json").read_bytes())["paths"]["/bearer"].values())
        code, _, errors = product.command("agent", "tool", "add", "bearer", "--openapi", folder / "openapi.json", "--base-url", server.url,
                                          "--allow", allow, "--secret-header", "Authorization: Bearer {key}")
        report.expect(code == 0, errors)
        (result, outcome), = caller.results(product, agent, [[allow, {}]])
        report.expect(outcome == "ok" and "true" in result, f"{outcome}: {result}")
