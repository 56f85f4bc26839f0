"""
What schemathesis must know beyond the OpenAPI document; `run-schemathesis.ts` loads it.

Some requests that fit the document are refused, since JSON Schema cannot say why: the descriptions in the document do.
`EXCEPTIONS` names them. A refusal is accepted only for exactly these reasons.
"""

import json
import os
import re

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

# The field that the refusal names, and its reason.
EXCEPTIONS = {
    "a cursor that no page has returned": (r"cursor", r"is not a cursor"),
    "before together with after": (r"after", r"cannot be given together with before"),
    "a user named twice with different roles": (r"members", r"names a user twice"),
    "a text with more bytes than characters": (r"text|name|topic|displayName|avatar", r"must have at most \d+ bytes in UTF-8"),
    "a text of characters above U+FFFF that are never drawn": (r"text|name|topic|displayName", r"must have a visible character"),
    "a number with more than 10,000 messages above it": (r"number", r"has too many messages above it"),
    "an event or a group without a name": (r"name", r"is needed"),
    "a slug of another kind of room": (r"slug", r"must .*"),
    "around together with before or after": (r"around", r"cannot be given together with before or after"),
    "a message with too many different reactions": (r"key", r"the message has too many different reactions"),
    "an open direct room": (r"join", r"of a direct room is invite"),
    "a public direct room": (r"visibility", r"of a direct room is private"),
    "oneself among the people whom one blocks": (r"user", r"must be another user"),
    "a clientId beside another Idempotency-Key": (r"Idempotency-Key", r"differs from the body's clientId"),
}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Drops the refusal of a request that fits the document, for an exception of the list."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 422:
        return True
    problem = json.loads(response.content)
    if problem["code"] == "idempotency_key_reused":
        return False
    return not problem.get("errors") or not all(is_excepted(error) for error in problem["errors"])


def is_excepted(error):
    return any(
        re.fullmatch(path, error["path"]) and re.fullmatch(message, error["message"])
        for path, message in EXCEPTIONS.values()
    )


requests_sent = 0


@schemathesis.hook
def before_call(context, case, kwargs):
    # No job runs in the test, so nothing becomes final: a wait would only cost time.
    for name in list(case.headers or {}):
        if name.lower() == "prefer" and "wait" in str(case.headers[name]).lower():
            case.headers[name] = "wait=0"
    # Each request comes from another address: the limit of an address would hide the answers behind 429.
    if os.environ.get("ROTATE_ADDRESS") == "yes":
        global requests_sent
        requests_sent += 1
        case.headers["X-Forwarded-For"] = f"10.0.{requests_sent // 250 % 250}.{requests_sent % 250}"
