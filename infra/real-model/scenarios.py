"""What is asked of the model, and what must come of it."""

from dataclasses import dataclass
from typing import Callable


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


def wants(*words):
    def faults(result):
        return [f"the answer lacks {word!r}" for word in words if word.lower() not in result["answer"].lower()]
    return faults


SCENARIOS = [
    Scenario("prompt", "a prompt over the payload", intake,
             {"from": "Ms Gruber", "mail": "Hello, the shoes of order 4711 came in size 42. Please send me size 38 instead."},
             wants("4711", "38")),
    Scenario("sources", "documents that the model searches by itself", returns,
             {"question": "For how many days can I return shoes I have not worn?"}, wants("45")),
]
