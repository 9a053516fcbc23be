"""What a function finds when it is thawed: dead connections, and a clock that stood still."""

import time

import pytest

# Longer than the product keeps an idle connection to a model.
FREEZE_SECONDS = 4.5


@pytest.mark.parametrize("stops_clock", [True, False], ids=["clock stands still", "clock goes on"])
def test_connections_that_died_during_a_freeze_cost_no_attempt_and_no_error(cloud, monkeypatch, stops_clock):
    """R7. https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""
    cloud.deploy(OtlpEndpoint=cloud.proxies["collector"].url)
    for function in cloud.lambda_service.functions.values():
        monkeypatch.setattr(function, "stops_clock", stops_clock)
    assert cloud.manage("PUT", "/api/secrets/frozen", {"value": "sk-frozen"}).status == 204
    # One run slot for two tasks: the second is deferred, which opens a connection to SQS.
    agent = cloud.create_agent(model_fields={"api_key": {"secret": "frozen"}}, limits={"max_concurrent_runs": 1})

    def calls():
        tasks = [cloud.trigger(agent) for _ in range(2)]
        ends = [cloud.run_until_ended(task) for task in tasks]
        assert [(end["status"], end["attempt"]) for end in ends] == [("SUCCESS", 1)] * 2
        statuses = [cloud.call("GET", "/api/health").status, cloud.manage("GET", "/api/agents").status,
                    cloud.manage("PUT", "/api/secrets/frozen", {"value": "sk-frozen"}).status]
        assert statuses == [200, 200, 204]

    calls()
    opened = {name: proxy.opened for name, proxy in cloud.proxies.items()}
    for proxy in cloud.proxies.values():
        proxy.forget_connections()
    time.sleep(FREEZE_SECONDS)
    lines = len(cloud.lambda_service.log_lines)
    calls()
    written = [line for _, _, line in cloud.lambda_service.log_lines[lines:]]
    assert [line for line in written if '"level":"WARN"' in line or '"level":"ERROR"' in line] == []
    assert all(proxy.opened > opened[name] for name, proxy in cloud.proxies.items()), "each service got a new connection"


def test_a_webhook_url_that_was_rotated_during_a_freeze_is_refused_after_it(cloud):
    """R12. "Disabling or rotating takes effect within this time" (AgentCacheSeconds). The monotonic clock stands still in a
    frozen function: https://github.com/mbeher2200/DarkHours/pull/204"""
    cloud.deploy(AgentCacheSeconds=1)
    agent = cloud.create_agent()
    cloud.trigger(agent)
    assert cloud.manage("POST", f"/api/agents/{agent['agent_id']}/webhook/rotate", {}).status == 200
    time.sleep(1.2)
    assert cloud.call("POST", cloud.webhook_path(agent), {"a": 1}).status == 404


def test_an_agent_that_was_changed_during_a_freeze_is_run_as_it_is_after_it(cloud):
    """R12. The same in the agent function."""
    cloud.deploy(AgentCacheSeconds=1)
    agent = cloud.create_agent()
    assert cloud.run_until_ended(cloud.trigger(agent))["status"] == "SUCCESS"
    changed = cloud.manage("PATCH", f"/api/agents/{agent['agent_id']}", {"prompt": "Answer the changed-order."})
    assert changed.status == 200, changed.body
    time.sleep(1.2)
    task = cloud.trigger(agent, {"marker": agent["agent_id"]})
    assert cloud.run_until_ended(task)["status"] == "SUCCESS"
    (request,) = cloud.model.requests_about(agent["agent_id"])
    assert "changed-order" in request["text"]
