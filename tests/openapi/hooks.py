"""What schemathesis asks about: every other time something that is there."""

import json
import os
import random

import schemathesis
from hypothesis import strategies
from schemathesis.core.errors import InvalidSchema
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.jsonschema import strategy

KNOWN = json.loads(os.environ["OPENAPI_KNOWN"])
# What goes on being triggered is neither changed nor deleted.
TRIGGERED = {"trigger_agent", "trigger_agent_by_url"}
DELETES_WHAT_OTHERS_NEED = {"delete_agent"}
IN_PATH = {"token": "token", "id": "agent", "source_id": "document", "name": "secret"}
IN_QUERY = {"task_id": "task", "id": "agent"}


def without_contradictions(repeated):
    """Schemathesis 4.32.5 ends with a schema error if it meets a list that can have no values while it builds a
    schema that refers to itself. Otherwise it takes another branch of the schema, so it does that here too."""
    def or_nothing(*arguments, **options):
        try:
            return repeated(*arguments, **options)
        except InvalidSchema:
            return strategies.nothing()
    return or_nothing


strategy._repeated = without_contradictions(strategy._repeated)


@schemathesis.hook
def map_case(context, case):
    operation = case.operation.definition.raw["operationId"]
    if operation not in DELETES_WHAT_OTHERS_NEED:
        name_what_is_there(case, ParameterLocation.PATH, case.path_parameters, IN_PATH)
        name_what_is_there(case, ParameterLocation.QUERY, case.query, IN_QUERY)
    # A parameter with an empty value counts as absent, so it is never wrong.
    for name, value in (case.query or {}).items():
        if value == "" and is_wrong(case, ParameterLocation.QUERY):
            case.query[name] = "wrong"
    return case


def name_what_is_there(case, location, parameters, names):
    for parameter, known in names.items():
        if not parameters or parameter not in parameters or is_wrong(case, location):
            continue
        # Drawn from what was generated, so that a seed always asks the same.
        if random.Random(repr(parameters[parameter])).random() < 0.5:
            parameters[parameter] = KNOWN[known]


def is_wrong(case, location):
    """Whether the test is that this is wrong."""
    component = case.meta and case.meta.components.get(location)
    return component is None or component.mode.is_negative
