"""The largest requests: the whole event has 6,291,456 bytes."""

import pytest

from fake.lambda_service import MOST_EVENT_BYTES

MIB = 1024 * 1024
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
# As long as headers may be: request line and headers have 10,240 bytes together.
LONG_HEADERS = [("X-Padding", "p" * 9_800)]


def json_of(size):
    """Valid JSON of so many bytes that doubles in an event: quotes, backslashes and newlines are escaped there."""
    inside = size - len('{"a":""}')
    return b'{"a":"' + b'\\"' * (inside // 2) + b'"}' + b"\n" * (inside % 2)


def form_of(size):
    return b"a=" + b"b" * (size - 2)


def trigger(cloud, agent, body, headers):
    return cloud.call("POST", cloud.webhook_path(agent), body, headers)


@pytest.mark.parametrize("headers", [[], FORM])
def test_the_largest_body_by_default_fits_in_an_event(cloud, headers):
    """R9. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
    agent = cloud.create_agent()
    body = form_of(MIB) if headers else json_of(MIB)
    answer = trigger(cloud, agent, body, headers + LONG_HEADERS)
    assert answer.status == 200, answer.body
    assert cloud.run_until_ended(answer.json()["task_id"])["status"] == "SUCCESS"


def test_one_byte_more_than_the_largest_body_by_default_is_refused_by_the_product(cloud):
    """R9. Its own 413 names the limit."""
    answer = trigger(cloud, cloud.create_agent(), json_of(MIB + 1), LONG_HEADERS)
    assert (answer.status, answer.json()["code"]) == (413, "payload_too_large")


def test_a_form_of_the_largest_body_that_the_template_allows_fits_in_an_event(cloud):
    """R9. A form is base64 on its way (measured in https://github.com/ministackorg/ministack/pull/766)."""
    most = int(cloud.template["Parameters"]["MaxBodyBytes"]["MaxValue"])
    cloud.deploy(MaxBodyBytes=most)
    answer = trigger(cloud, cloud.create_agent(), form_of(most), FORM + LONG_HEADERS)
    assert answer.status == 200, answer.body


def test_a_body_that_does_not_fit_in_an_event_is_refused_by_api_gateway_and_loses_nothing(cloud):
    """R9. AWS's own emulator of API Gateway: ToHttpApiV2RequestTooLargeResponse in aws-lambda-dotnet."""
    cloud.deploy(MaxBodyBytes=int(cloud.template["Parameters"]["MaxBodyBytes"]["MaxValue"]))
    agent, events = cloud.create_agent(), len(cloud.lambda_service.invocations)
    answer = trigger(cloud, agent, json_of(MOST_EVENT_BYTES // 2), [("Idempotency-Key", "large")])
    assert (answer.status, answer.json()) == (413, {"message": "Request Entity Too Large"})
    assert len(cloud.lambda_service.invocations) == events, "the function is not invoked"
    assert cloud.queue.messages == []
    # The key was not used up.
    answer = trigger(cloud, agent, b'{"a":1}', [("Idempotency-Key", "large")])
    assert (answer.status, answer.headers.get("Idempotent-Replayed")) == (200, None)


def test_headers_over_the_limit_are_refused_by_api_gateway(cloud):
    """R9. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html"""
    answer = trigger(cloud, cloud.create_agent(), b'{"a":1}', [("X-Padding", "p" * 10_240)])
    assert answer.status == 431


@pytest.mark.parametrize("quotes", [1_000_000, 1_450_000, 2_900_000])
def test_a_long_answer_can_be_read_however_its_characters_are_escaped(cloud, quotes):
    """R9. The response has a limit, too: an answer is escaped twice, as JSON and as the body of the function's response."""
    task = cloud.trigger(cloud.create_agent(f"quotes-{quotes}"))
    end = cloud.run_until_ended(task)
    assert end["status"] == "SUCCESS" or "large" in end["result"] or "long" in end["result"], end["result"][:200]
    assert cloud.manage("GET", f"/api/tasks/{task}").status == 200


def test_the_largest_document_fits_in_an_event(cloud):
    """R9. A PDF is base64, and so is everything that API Gateway does not take for text."""
    agent = cloud.create_agent()
    headers = [("Authorization", f"Bearer {cloud.admin_token}"), ("Content-Type", "application/pdf"), *LONG_HEADERS]
    answer = cloud.call("POST", f"/api/agents/{agent['agent_id']}/sources?source=a.pdf", b"%PDF-1.7\n" + b"x" * (4 * MIB - 9), headers)
    assert (answer.status, answer.json()["code"]) == (422, "unreadable_document")
