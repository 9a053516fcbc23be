"""Waiting for a run slot, with Lambda's recursive-loop detection at its default."""

import threading
import time

import pytest

from fake.lambda_service import MOST_INVOCATIONS_IN_A_CHAIN

LOOKS = 1000
# Longest wait for a slot, and what the product's own bound allows for it.
DAY_SECONDS = 86_400
MOST_SENDS_PER_DAY = 12


@pytest.fixture
def terminating(cloud, monkeypatch):
    """The account with the default of recursive-loop detection, whatever the template says."""
    monkeypatch.setattr(cloud.lambda_service.functions["AgentFunction"], "allows_recursion", False)
    return cloud


class BusyAgent:
    """An agent with one run slot, which a task holds, and a second task that waits for it."""

    def __init__(self, cloud):
        self.cloud = cloud
        cloud.model.released.clear()
        agent = cloud.create_agent("waits", limits={"max_concurrent_runs": 1})
        self.running = cloud.trigger(agent)
        self.invocation = threading.Thread(target=cloud.mapping.deliver)
        self.invocation.start()
        wait_until(lambda: cloud.model.waiting)
        self.waiting = cloud.trigger(agent)

    def look(self):
        return self.cloud.mapping.deliver(early=True)

    def look_until_sent(self):
        """The looks up to the next new message. Only the last ones are of interest."""
        self.message().receives = max(0, self.cloud.queue.most_receives - 101)
        sends = self.cloud.queue.sends
        while self.cloud.queue.sends == sends:
            assert self.look() == "delivered"

    def message(self):
        (message,) = [message for message in self.cloud.queue.messages if message.body == self.waiting]
        return message

    def end(self):
        """Frees the slot; how both tasks ended."""
        self.cloud.model.released.set()
        self.invocation.join()
        return [self.cloud.run_until_ended(task)["status"] for task in (self.running, self.waiting)]


def wait_until(probe, seconds=10):
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_a_task_that_looks_1000_times_for_a_slot_is_run_in_the_end(terminating):
    """R1. https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"""
    cloud = terminating
    dropped, agent = cloud.lambda_service.recursive_invocations_dropped, BusyAgent(cloud)
    sends, hurried = cloud.queue.sends, cloud.queue.hurried
    outcomes = [agent.look() for _ in range(LOOKS)]
    assert outcomes == ["delivered"] * LOOKS
    assert cloud.status(agent.waiting)["status"] == "PENDING"
    resends, waited = cloud.queue.sends - sends, cloud.queue.hurried - hurried
    assert resends * DAY_SECONDS / waited <= MOST_SENDS_PER_DAY, f"{resends} sends in {waited / 3600:.1f} h"
    assert agent.end() == ["SUCCESS", "SUCCESS"]
    assert cloud.lambda_service.recursive_invocations_dropped == dropped
    assert cloud.dead_letters.messages == []


def test_a_task_that_waits_a_whole_day_for_a_slot_is_run_in_the_end(terminating):
    """R1. The chain of requests grows by one with each new message, and stays below 16."""
    cloud, agent = terminating, BusyAgent(terminating)
    for _ in range(MOST_SENDS_PER_DAY):
        agent.look_until_sent()
        assert agent.message().receives == 0
    assert agent.end() == ["SUCCESS", "SUCCESS"]


def test_a_message_that_a_function_sends_carries_the_chain_of_its_invocation(terminating):
    """R1. aws-runtime, RecursionDetectionInterceptor: without it the other tests would prove nothing."""
    cloud, agent = terminating, BusyAgent(terminating)
    webhook, runner = (cloud.lambda_service.functions[name] for name in ("WebhookFunction", "AgentFunction"))
    assert webhook.lineage(agent.message().trace_header) == 1
    agent.look_until_sent()
    assert runner.lineage(agent.message().trace_header) == 1
    assert agent.end() == ["SUCCESS", "SUCCESS"]


def hops_of_a_chain(cloud, most):
    """How often the agent function is invoked by a message that always sends the next one."""
    trace_header = None
    for hop in range(most):
        cloud.queue.send("not a task id", "group", trace_header)
        if cloud.mapping.deliver() != "delivered":
            return hop
        trace_header = cloud.lambda_service.invocations[-1][1]
    return most


def test_the_fake_refuses_the_17th_invocation_of_a_chain_and_lets_it_pass_if_the_function_allows_it(terminating, monkeypatch):
    """R1, a control of the fake: https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"""
    assert hops_of_a_chain(terminating, 20) == MOST_INVOCATIONS_IN_A_CHAIN
    terminating.queue.messages.clear()
    monkeypatch.setattr(terminating.lambda_service.functions["AgentFunction"], "allows_recursion", True)
    assert hops_of_a_chain(terminating, 20) == 20


def test_the_fake_sends_a_refused_message_to_the_dead_letters_where_it_is_refused_again(terminating):
    """R1, a control of the fake: "This increments the receiveCount value on the message." (the same page)"""
    cloud = terminating
    hops_of_a_chain(cloud, 20)
    (message,) = cloud.queue.messages
    message.receives = cloud.queue.most_receives
    cloud.clock.skip(cloud.queue.visibility_timeout)
    assert cloud.mapping.deliver() is None
    assert cloud.dead_letters.messages == [message]
    assert cloud.dead_letter_mapping.deliver() == "RecursiveInvocation"
    assert message.receives == cloud.queue.most_receives + 1
