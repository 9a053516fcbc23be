"""Paths that API Gateway has decoded before the function sees them."""

import pytest

from fake.api_gateway import decoded_path, path_that_keeps_percent_signs

RULES = [decoded_path, path_that_keeps_percent_signs]
# What the product answers where it has no such path, agent or secret.
NOT_FOUND = 404


@pytest.fixture(params=RULES, ids=["as captured on AWS", "as in MiniStack"])
def gateway(request, cloud):
    """With both rules for `rawPath` that two sources have."""
    cloud.gateway.decode_path = request.param
    return cloud


def test_the_fake_decodes_paths_as_captured_on_aws():
    """A control of the fake: https://github.com/hotsock/voker/blob/main/vokerhttp/testdata/ingress-paths.json"""
    for sent, raw_path in {
        "/capture/plain": "/capture/plain",
        "/capture/space%20value": "/capture/space value",
        "/capture/question%3Fvalue": "/capture/question",
        "/capture/hash%23value": "/capture/hash#value",
        "/capture/slash%2Fvalue": "/capture/slash/value",
        "/capture/unicode-%CE%BB-%E4%B8%96%E7%95%8C": "/capture/unicode-λ-世界",
        "/capture/literal%252Fvalue": "/capture/literal/value",
        "/capture/literal%253Fvalue": "/capture/literal?value",
        "/capture/literal%2525value": "/capture/literal%value",
    }.items():
        assert decoded_path(sent) == raw_path


@pytest.mark.parametrize("path", [
    "/api/agents/..%2Fsession", "/api/agents/%2E%2E/session", "/api/agents/%2e%2e%2fsession", "/api/agents/..%5Csession",
    "/api/agents/x%2F..%2F..%2Fsession", "/api/secrets/..%2Fsession", "/api/agents/.%2F..%2Fsession", "/api/tasks/..%2Fsession",
    "/api/agents/..%09%2Fsession", "/api/agents/.%0A.%2Fsession", "/api/agents/%252e%252e%252fsession",
])
def test_a_path_does_not_reach_a_route_other_than_the_one_it_was_throttled_by(gateway, path):
    """R10. A sign-in beside the throttle of POST /api/session. WHATWG URL parsing resolves dot segments."""
    answer = gateway.call("POST", path, {"admin_token": gateway.admin_token})
    assert answer.headers.get("Set-Cookie") is None, "signed in"
    assert answer.status in (401, NOT_FOUND), (answer.status, answer.body)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("end", ["%23", "%23?order=1", "%5C", "%00", "%2F", "%20", "%09", "%0A", "%0D%0A", "%23%3F", "%2F..%2F",
                                 "%2F.", "%253F", "%253Forder=1"])
def test_a_token_with_anything_behind_it_triggers_nothing(gateway, method, end):
    """R10. On the local server such a path is another token, which does not exist."""
    path = gateway.webhook_path(gateway.create_agent()) + end
    answer = gateway.call(method, path, {"a": 1} if method == "POST" else None)
    assert (answer.status, gateway.queue.messages) == (NOT_FOUND, []), answer.body


def test_a_token_with_a_line_break_in_it_triggers_nothing(gateway):
    """R10. WHATWG URL parsing removes tabs and line breaks."""
    path = gateway.webhook_path(gateway.create_agent())
    assert gateway.call("POST", f"{path[:-3]}%0A{path[-3:]}", {"a": 1}).status == NOT_FOUND
    assert gateway.queue.messages == []


@pytest.mark.parametrize("end", ["%3F", "%3Forder=1"])
def test_a_question_mark_behind_a_token_is_cut_off_by_api_gateway(cloud, end):
    """R10. A function cannot see it: `rawPath` does not contain it, and the query is the caller's own."""
    path = cloud.webhook_path(cloud.create_agent()) + end
    answer = cloud.call("POST", path, {"marker": "kept-whole"})
    assert answer.status == 200
    assert cloud.run_until_ended(answer.json()["task_id"])["status"] == "SUCCESS"
    assert cloud.model.requests_about("kept-whole"), "the payload is the body that was sent"


@pytest.mark.parametrize("path, status", [
    ("team%2Fopenai", 204), ("team/openai", 204), ("a.b-c_9", 204), ("%74eam%2Fopenai", 204),
    ("two%20words", 400), ("team%23openai", 400), ("team%5Copenai", 400), ("a%09b", 400), ("end%20", 400), ("%C3%A4", 400),
    ("a%2F..%2Fb", (400, NOT_FOUND)), ("50%25", 400), ("agents%2Fx", 400),
])
def test_the_name_of_a_secret_means_the_same_as_on_the_local_server(gateway, path, status):
    """R10. The statuses are those of the local server, where the path is decoded once and only by the route."""
    stored = set(gateway.secrets.secrets)
    answer = gateway.manage("PUT", f"/api/secrets/{path}", {"value": "v"})
    assert answer.status in (status if isinstance(status, tuple) else (status,)), answer.body
    if answer.status != 204:
        assert set(gateway.secrets.secrets) == stored, "nothing is stored under another name"


@pytest.mark.parametrize("query", ["order=1&tag=a+b&tag=c%26d", "q=%22x%22", "q=a%2Fb%23c"])
def test_a_query_arrives_as_it_was_sent(gateway, query):
    """R10. `rawQueryString` stays encoded (apigwv2-request.json, the same repository)."""
    path = gateway.webhook_path(gateway.create_agent())
    answer = gateway.call("GET", f"{path}?{query}")
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("query", ['q="x"', "q=<y>", "q={z}|^`"])
def test_a_query_with_characters_that_do_not_belong_there_breaks_nothing(cloud, query):
    """R10. Whether API Gateway lets them pass is not documented. The http crate refuses some of them."""
    path = cloud.webhook_path(cloud.create_agent())
    assert cloud.call("GET", f"{path}?{query}").status in (200, 400)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_every_method_of_the_health_check_reaches_its_function(cloud, method):
    """R4. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html"""
    answer = cloud.call(method, "/api/health")
    assert cloud.gateway.events[-1][0] == "TaskStatusFunction"
    # As on the local server.
    assert answer.status == (405 if method == "POST" else 200)


def test_signing_in_is_throttled_by_its_own_route(cloud):
    """R10, a control of the fake: `RouteSettings` of the stage."""
    statuses = [cloud.call("POST", "/api/session", {"admin_token": "wrong"}).status for _ in range(15)]
    assert 429 in statuses
