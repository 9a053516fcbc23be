"""What is asked of the model, and what must come of it."""

import json
from dataclasses import dataclass
from typing import Callable

from shop import TOKEN, open_shop


@dataclass
class Scenario:
    name: str
    about: str
    # Of the product and what runs until the end: what the agent has beside its name and model.
    definition: Callable
    payload: object
    # Of a result: what is wrong with it.
    faults: Callable


def intake(*_):
    return {"prompt": "A shop got this mail from {{ payload.from }}. Say in one sentence the number of the order and "
                      "which size must be sent."}


def returns(*_):
    return {
        "prompt": "You answer customers of a shop. Search the sources first, then answer in one sentence.",
        "tools": [{"type": "search_sources"}],
        "sources": [
            {"title": "Returns", "text": "Unworn shoes can be returned within 45 days. Worn shoes cannot be returned."},
            {"title": "Delivery", "text": "Parcels to Austria take three working days and cost 9 euros."},
        ],
    }


def stock(product, running):
    shop = running.enter_context(open_shop())
    product.manage("PUT", "/api/secrets/shop-token", {"value": TOKEN})
    article = {"type": "object", "properties": {"sku": {"type": "string", "description": "such as AB-12"}}, "required": ["sku"]}
    return {
        "prompt": "You answer customers of a shop in one sentence. Look an article's stock up before you answer.",
        "tools": [{
            "type": "http", "name": "shop", "base_url": shop.url,
            "headers": {"Authorization": {"secret": "shop-token", "prefix": "Bearer "}},
            "operations": [{"name": "get_stock", "description": "How many pairs of an article are in stock",
                            "path": "/stock/{sku}", "parameters": article}],
        }],
    }


def extraction(*_):
    return {
        "prompt": "Take the order out of the customer's mail.",
        "output_schema": {
            "type": "object",
            "properties": {"order": {"type": "integer"}, "size_wanted": {"type": "integer"}, "polite": {"type": "boolean"}},
            "required": ["order", "size_wanted", "polite"],
            "additionalProperties": False,
        },
    }


def wants(*words, calls=0):
    def faults(result):
        made = [call for call in result["tool_calls"] if call["status"] == "ok"]
        wrong = [f"the answer lacks {word!r}" for word in words if word.lower() not in result["answer"].lower()]
        return wrong + ([f"{len(made)} calls of tools, at least {calls} were wanted"] if len(made) < calls else [])
    return faults


def is_json_with(**values):
    def faults(result):
        try:
            answer = json.loads(result["answer"])
        except ValueError:
            return ["the answer is not JSON"]
        return [f"{name} is {answer.get(name)!r}" for name, value in values.items() if answer.get(name) != value]
    return faults


MAIL = {"from": "Ms Gruber", "mail": "Hello, the shoes of order 4711 came in size 42. Please send me size 38 instead."}

SCENARIOS = [
    Scenario("prompt", "a prompt over the payload", intake, MAIL, wants("4711", "38")),
    Scenario("schema", "an answer that is JSON of a given form", extraction, MAIL, is_json_with(order=4711, size_wanted=38)),
    Scenario("tool", "an HTTP API with a key from the secret store", stock,
             {"question": "How many pairs of TS-38 do you have?"}, wants("7", calls=1)),
    Scenario("sources", "documents that the model searches by itself", returns,
             {"question": "For how many days can I return shoes I have not worn?"}, wants("45", calls=1)),
]
