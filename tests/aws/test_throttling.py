"""Throttling: of the agent function by the account, and of the account by the agent function and by floods of other routes."""

import collections
import contextlib
import threading
import time

import pytest

from test_run_slots import wait_until

REDUCED_QUOTA = 10


def test_throttling_for_an_hour_ends_no_task_as_worker_lost(cloud):
    """R3. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html: a throttled batch returns after the
    visibility time-out, and each return is a receive. Shortest time-out of the template."""
    cloud.deploy(AgentTimeoutSeconds=5)
    task = cloud.trigger(cloud.create_agent())
    cloud.lambda_service.account_concurrency = 0
    for _ in range(3600 // cloud.queue.visibility_timeout):
        assert cloud.mapping.deliver() == "Throttled", f"gone after {cloud.queue.most_receives} receives"
        cloud.clock.skip(cloud.queue.visibility_timeout)
    cloud.lambda_service.account_concurrency = 1000
    end = cloud.run_until_ended(task)
    assert (end["status"], end["attempt"]) == ("SUCCESS", 1)
    assert cloud.dead_letters.messages == []


def test_a_trigger_of_a_throttled_function_is_answered_by_api_gateway_and_stores_nothing(cloud):
    """R2, R3. What the caller retries by. The status is API Gateway's and not documented for HTTP APIs."""
    agent = cloud.create_agent()
    cloud.lambda_service.account_concurrency = 0
    answer = cloud.call("POST", cloud.webhook_path(agent), {"a": 1}, [("Idempotency-Key", "one")])
    assert answer.status == cloud.gateway.throttled_status
    cloud.lambda_service.account_concurrency = 1000
    again = cloud.call("POST", cloud.webhook_path(agent), {"a": 1}, [("Idempotency-Key", "one")])
    assert (again.status, again.headers.get("Idempotent-Replayed")) == (200, None)


def test_in_a_new_account_running_agents_leave_executions_for_the_api(cloud):
    """R2. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: "New AWS accounts have reduced
    concurrency and memory quotas"."""
    cloud.lambda_service.account_concurrency = REDUCED_QUOTA
    cloud.model.released.clear()
    agent = cloud.create_agent("waits")
    tasks = [cloud.trigger(agent) for _ in range(10 * REDUCED_QUOTA)]
    runner = cloud.lambda_service.functions["AgentFunction"]
    with cloud.mapping.polling():
        wait_until(lambda: runner.running == min(REDUCED_QUOTA, cloud.mapping.most_at_once))
        time.sleep(0.1)
        statuses = [cloud.call("GET", "/api/health").status, cloud.call("POST", cloud.webhook_path(agent), {"a": 1}).status]
        cloud.model.released.set()
        wait_until(lambda: not cloud.queue.messages, 30)
    assert statuses == [200, 200]
    assert {cloud.status(task)["status"] for task in tasks} == {"SUCCESS"}


@contextlib.contextmanager
def flood(cloud, method, target):
    """Eight callers that send as fast as they can. Yields how often they got each status."""
    over, statuses = threading.Event(), collections.Counter()

    def send():
        while not over.is_set():
            statuses[cloud.call(method, target).status] += 1

    callers = [threading.Thread(target=send) for _ in range(8)]
    for caller in callers:
        caller.start()
    try:
        yield statuses
    finally:
        over.set()
        for caller in callers:
            caller.join()


def with_retries(call):
    """As callers do. On a busy machine the fake's executions take much longer than Lambda's."""
    status, pause = call(), 0.1
    while status != 200 and pause < 3:
        time.sleep(pause)
        status, pause = call(), 2 * pause
    return status


@pytest.mark.parametrize("target", ["/", "/api/agents", "/api/task_status?task_id=none", "/api/health", "/.env"])
def test_in_a_new_account_a_flood_of_another_route_leaves_executions_for_webhooks(cloud, target):
    """A1. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html: a route over its limit is
    answered 429 by API Gateway, without an execution. Seven executions run agents, three are left for all callers."""
    cloud.lambda_service.account_concurrency = REDUCED_QUOTA - 7
    agent = cloud.create_agent()
    started = time.monotonic()
    with flood(cloud, "GET", target) as statuses:
        # The burst is used up, and the instances are warm.
        wait_until(lambda: statuses[429] > 100)
        answered = []
        for _ in range(30):
            answered.append(with_retries(lambda: cloud.call("POST", cloud.webhook_path(agent), {"a": 1}).status))
            time.sleep(0.02)
    assert collections.Counter(answered) == {200: 30}, statuses
    # No route but that of webhooks has a higher rate or burst than 200.
    reached_lambda = sum(statuses.values()) - statuses[429]
    assert reached_lambda <= 200 * (time.monotonic() - started) + 200


def test_a_flood_of_pages_leaves_the_management_api_to_administrators(cloud):
    """A1. The same page: each route has its own bucket."""
    with flood(cloud, "GET", "/") as statuses:
        wait_until(lambda: statuses[429] > 100)
        assert [cloud.manage("GET", "/api/agents").status for _ in range(10)] == [200] * 10


def test_reserved_concurrency_keeps_webhooks_answered_while_others_use_up_the_account(cloud):
    """A1. https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html: reserved for one function, and taken
    from all others."""
    cloud.deploy(WebhookReservedConcurrency=5)
    agent = cloud.create_agent()
    cloud.lambda_service.account_concurrency = 5
    assert cloud.call("GET", "/api/health").status == cloud.gateway.throttled_status
    assert cloud.call("POST", cloud.webhook_path(agent), {"a": 1}).status == 200
