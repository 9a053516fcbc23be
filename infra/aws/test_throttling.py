"""Throttling: of the agent function by the account, and of the account by the agent function."""

import time

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
