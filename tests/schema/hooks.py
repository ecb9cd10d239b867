"""Keeps the generated requests within what a schema cannot say, and short.

A JSON Schema counts characters where the API counts bytes, and does not know
that one parameter forbids another. Requests that are right by the schema and
wrong by such a rule are left out here; the behaviour tests cover the rules.
"""

import json
import math
import re

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

# The document, with what each answer of an operation may be.
document = {}
BLOCK_SECONDS_MAX = 0.05
ID_MAX = 2**64 - 1


@schemathesis.hook
def before_load_schema(context, raw_schema):
    document.update(json.loads(json.dumps(raw_schema)))
    for path in raw_schema["paths"].values():
        _without_event_stream(path.get("get", {}))
    # Lines are made up as the list that they stand for.
    bodies = raw_schema["components"]["requestBodies"]
    for body, lines in (("Changes", "ChangeBodies"), ("Keys", "KeyBodies")):
        content = bodies[body]["content"]
        content["application/x-ndjson"] = {
            "schema": {"$ref": f"#/components/schemas/{lines}"},
            "example": content["application/json"]["examples"]["batch"]["value"],
        }


def _without_event_stream(operation):
    """Leaves out what only an event stream reads: none is opened here."""
    names = ("LastEventId", "LastEventIdQuery", "TicketQuery")
    left_out = [f"#/components/parameters/{name}" for name in names]
    operation["parameters"] = [
        parameter
        for parameter in operation.get("parameters", [])
        if parameter.get("$ref") not in left_out
    ]


@schemathesis.check
def problem_is_one_that_the_answer_names(context, response, case):
    """Every problem has the one schema; which codes an answer may have, its examples say."""
    if "problem+json" not in "".join(response.headers.get("content-type", [])):
        return
    operation = document["paths"][case.operation.path].get(case.method.lower())
    if operation is None:
        return
    answer = operation["responses"].get(str(response.status_code), {})
    while "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    problem = json.loads(response.content) if case.method != "HEAD" else {}
    named = answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
    if problem and (problem["code"] not in named or problem["status"] != response.status_code):
        raise AssertionError(f"{problem['code']} is none of {list(named)}")


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    if isinstance(value, bytes):
        return value
    return "\n".join(json.dumps(line) for line in (value if isinstance(value, list) else [value])).encode()


def _short(query):
    """No read waits long, be it for a change or for an id that is far off."""
    block, min_id = query.get("block"), query.get("min_id")
    if isinstance(block, float) and math.isfinite(block) or _is_number(block):
        # Seconds are plain decimals, which Python writes only down to here.
        short = min(float(block), BLOCK_SECONDS_MAX)
        query["block"] = short if short >= 0.001 or short < 0 else 0
    if re.fullmatch("[0-9]+", str(min_id)) and 1 < int(min_id) <= ID_MAX:
        query["min_id"] = 1
    # Nor does anybody ask for an entry of the log that is far off: the node lies behind it.
    if re.fullmatch("[0-9]+", str(query.get("from"))) and 1 < int(query["from"]) <= ID_MAX:
        query["from"] = 1


def _is_number(value):
    return re.fullmatch(r"[0-9]+(\.[0-9]+)?", str(value)) is not None


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.query:
        _short(case.query)


def _texts(value):
    """The tags, keys and names that a body holds."""
    for change in value if isinstance(value, list) else [value]:
        if isinstance(change, dict):
            yield change.get("key"), 1024
            tags = change.get("tags")
            yield from ((tag, 128) for tag in (tags if isinstance(tags, list) else []))


def _fits(text, bytes_max):
    return not isinstance(text, str) or len(text.encode("utf-8", "replace")) <= bytes_max


@schemathesis.hook
def filter_case(context, case):
    query, headers = case.query or {}, case.headers or {}
    if "after" in query and "last" in query:
        return False
    # More than is given at once is no error, however much more.
    if re.fullmatch("[0-9]+", str(query.get("limit"))) and int(query["limit"]) >= 2**63:
        return False
    # Made up, and counted as right, in spite of the pattern.
    if "0" in (headers.get("If-Match"), headers.get("If-None-Match")):
        return False
    if case.meta is not None and not case.meta.generation.mode.is_positive:
        return True
    tags = query.get("tag")
    texts = [*_texts(case.body), *((tag, 128) for tag in (tags if isinstance(tags, list) else []))]
    return all(_fits(text, most) for text, most in texts) and _is_whole(case)


def _is_whole(case):
    """Whether members that need each other, and headers that need one object, have them; and
    whether whole numbers are written as such: to a schema 5.0 is one."""
    changes = case.body if isinstance(case.body, list) else [case.body]
    for change in changes:
        numbers = ("ttl", "age", "changes")
        if isinstance(change, dict) and any(isinstance(change.get(one), float) for one in numbers):
            return False
    if case.path.endswith("/changes"):
        for change in changes:
            if not isinstance(change, dict):
                continue
            needs = [("key", "collection"), ("ttl", "key")]
            if any(one in change and other not in change for one, other in needs):
                return False
    conditional = any(name in (case.headers or {}) for name in ("If-Match", "If-None-Match"))
    return not (case.method == "POST" and conditional and isinstance(case.body, list))


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Names may stand for things that do not belong together, and one parameter may forbid another,
    which no schema sees."""
    unseen = (
        b'"code":"tenant-mismatch"',
        b"one says where to start",
        b"neither streams nor waits have it",
        b'and has no meaning beside',
        b"they say for what to wait",
        b'member \\"expires\\" lies in the past',
    )
    # Tokens are for nodes that ask for them, which this one does not.
    if b"this node asks for no token" in response.content:
        return False
    is_unseen = any(text in response.content for text in unseen)
    return not (is_unseen and isinstance(failure, RejectedPositiveData))
