"""An application of FastAPI with parameters and bodies of all kinds. Started by openapi_fastapi.py."""

import enum
import sys
from typing import Annotated, Any, Literal, Optional

import uvicorn
from fastapi import Body, Cookie, Depends, FastAPI, File, Form, Header, HTTPException, Path, Query, Response, UploadFile
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

app = FastAPI(title="All shapes")


class Size(str, enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Filters(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(100, gt=0, le=100)
    order_by: Literal["created", "updated"] = "created"
    tags: list[str] = []


class Item(BaseModel):
    # FastAPI keeps what it knows of a field: read only in the document.
    item_id: Optional[int] = Field(None, json_schema_extra={"readOnly": True})
    name: str
    price: float = Field(gt=0)
    size: Size = Size.SMALL
    parts: list["Item"] = []
    labels: dict[str, str] = {}


class Dog(BaseModel):
    kind: Literal["dog"]
    barks: bool


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


@app.get("/path/{number}/{name}")
def path_parameters(number: int, name: str):
    return {"number": number, "name": name}


@app.get("/files/{rest:path}")
def path_with_slashes(rest: str):
    return {"rest": rest}


@app.get("/query")
def query_parameters(q: str, page: int = 1, exact: bool = False, size: Optional[Size] = None, ratio: Optional[float] = None):
    return {"q": q, "page": page, "exact": exact, "size": size, "ratio": ratio}


@app.get("/list")
def query_list(ids: Annotated[list[int], Query()], words: Annotated[list[str], Query(alias="word")] = []):
    return {"ids": ids, "words": words}


@app.get("/filter")
def query_model(filters: Annotated[Filters, Query()]):
    return filters


@app.get("/alias")
def query_alias(item: Annotated[str, Query(alias="item-query", min_length=3, pattern="^fixed")]):
    return {"item": item}


@app.get("/headers")
def header_parameters(x_trace: Annotated[str, Header()], x_many: Annotated[Optional[int], Header()] = None):
    return {"x_trace": x_trace, "x_many": x_many}


@app.get("/cookie")
def cookie_optional(session: Annotated[Optional[str], Cookie()] = None):
    return {"session": session}


@app.get("/cookie-required")
def cookie_required(session: Annotated[str, Cookie()]):
    return {"session": session}


@app.post("/items", status_code=201)
def create_item(item: Item):
    return item


@app.put("/items/{item_id}")
def update_item(item_id: int, item: Item, notify: bool = False):
    return {"item_id": item_id, "notify": notify, "item": item}


@app.put("/named/{name}")
def rename_item(name: str, item: Item):
    return {"path": name, "body": item.name}


@app.patch("/items/{item_id}")
def patch_item(item_id: int, changes: dict[str, Any]):
    return {"item_id": item_id, "changes": changes}


@app.post("/two")
def two_bodies(item: Item, user: Annotated[dict[str, str], Body()], importance: Annotated[int, Body(ge=1)]):
    return {"item": item.name, "user": user, "importance": importance}


@app.post("/embed")
def embedded(item: Annotated[Item, Body(embed=True)]):
    return item


@app.post("/numbers")
def list_body(numbers: list[int]):
    return {"sum": sum(numbers)}


@app.post("/scalar")
def scalar_body(text: Annotated[str, Body()]):
    return {"text": text}


@app.post("/pets")
def union_body(pet: Annotated[Dog | Cat, Body(discriminator="kind")]):
    return {"is": type(pet).__name__}


@app.post("/form")
def form_body(name: Annotated[str, Form()], age: Annotated[int, Form()] = 0, colors: Annotated[list[str], Form()] = []):
    return {"name": name, "age": age, "colors": colors}


@app.post("/upload")
async def upload(file: Annotated[UploadFile, File()], note: Annotated[str, Form()] = ""):
    return {"size": len(await file.read()), "note": note}


@app.delete("/items/{item_id}", status_code=204)
def delete_item(item_id: int):
    return Response(status_code=204)


@app.get("/error/{status}")
def error(status: Annotated[int, Path(ge=400, le=599)]):
    raise HTTPException(status, detail={"reason": "on request"}, headers={"X-Error": "yes"})


@app.get("/text", response_class=PlainTextResponse)
def text():
    return "Grüße, 世界"


@app.get("/stream")
def stream():
    return StreamingResponse((f"line {number}\n" for number in range(3)), media_type="text/plain")


@app.get("/bearer")
def bearer(token: Annotated[Any, Depends(HTTPBearer())]):
    return {"authenticated": token.credentials == "sesame-open-0123"}


@app.get("/key-header")
def key_header(key: Annotated[str, Depends(APIKeyHeader(name="X-Key"))]):
    return {"authenticated": key == "sesame-open-0123"}


@app.get("/key-query")
def key_query(key: Annotated[str, Depends(APIKeyQuery(name="api_key"))]):
    return {"authenticated": key == "sesame-open-0123"}


@app.get("/redirect")
def redirect():
    return Response(status_code=307, headers={"Location": "/text"})


@app.api_route("/head", methods=["HEAD"])
def head():
    return Response(headers={"X-Count": "3"})


# What OpenAPI documents of others have, and FastAPI does not write by itself.
def document():
    if not app.openapi_schema:
        written = original()
        schema = {"type": "object", "properties": {"state": {"type": "string"}, "min": {"type": "integer"}}}
        written["paths"]["/deep"] = {"get": {"operationId": "deep_object", "responses": {}, "parameters": [
            {"name": "filter", "in": "query", "required": True, "style": "deepObject", "explode": True, "schema": schema}]}}
        written["paths"]["/styles/{ids}"] = {"get": {"operationId": "styles", "responses": {}, "parameters": [
            {"name": "ids", "in": "path", "required": True, "style": "simple", "schema": {"type": "array", "items": {"type": "integer"}}},
            {"name": "pipes", "in": "query", "style": "pipeDelimited", "explode": False, "schema": {"type": "array", "items": {"type": "string"}}},
            {"name": "commas", "in": "query", "style": "form", "explode": False, "schema": {"type": "array", "items": {"type": "string"}}},
            {"name": "object", "in": "query", "style": "form", "explode": True, "schema": schema},
            {"name": "json", "in": "query", "content": {"application/json": {"schema": schema}}}]}}
        app.openapi_schema = written
    return app.openapi_schema


@app.middleware("http")
async def echo(request, call_next):
    if request.url.path == "/deep" or request.url.path.startswith("/styles/"):
        return PlainTextResponse(f"{request.url.path}?{request.url.query}")
    return await call_next(request)


original, app.openapi = app.openapi, document

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
