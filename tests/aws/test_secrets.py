"""Secrets whose creation and deletion take their time, and keys that are replaced."""

import time
import uuid

import pytest

from fake.template import STACK

PREFIX = f"{STACK}/provider/"


@pytest.fixture
def name():
    return f"key-{uuid.uuid4().hex[:8]}"


def put(cloud, name, value):
    return cloud.manage("PUT", f"/api/secrets/{name}", {"value": value})


def agent_with(cloud, name):
    return cloud.create_agent(model_fields={"api_key": {"secret": name}})


def test_a_secret_can_be_set_again_seconds_after_it_was_deleted(cloud, name):
    """R5. https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html: "use appropriate back off
    and retry logic"."""
    cloud.secrets.deletion_takes = 2
    assert put(cloud, name, "first").status == 204
    assert cloud.manage("DELETE", f"/api/secrets/{name}").status == 204
    started = time.monotonic()
    answer = put(cloud, name, "second")
    assert (answer.status, answer.body) == (204, b"")
    assert time.monotonic() - started < 10
    assert cloud.secrets.find(PREFIX + name).value == "second"


def test_a_secret_can_be_deleted_while_its_deletion_is_in_progress(cloud, name):
    """R5. The second call of a caller who did not get the first answer."""
    cloud.secrets.deletion_takes = 60
    assert put(cloud, name, "first").status == 204
    cloud.secrets.secrets[PREFIX + name].gone_at = time.time() + 60
    assert cloud.manage("DELETE", f"/api/secrets/{name}").status == 204


def test_a_run_whose_secret_was_deleted_by_hand_ends_as_invalid_agent(cloud, name):
    """R5. https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_delete-secret.html"""
    assert put(cloud, name, "first").status == 204
    agent = agent_with(cloud, name)
    cloud.secrets.delete_by_hand(PREFIX + name)
    end = cloud.run_until_ended(cloud.trigger(agent))
    assert (end["status"], end["attempt"], end["error"]["type"]) == ("FAILURE", 1, "invalid_agent")


def test_setting_a_secret_that_was_deleted_by_hand_is_refused_with_the_recovery_window(cloud, name):
    """R5. The same page: the name stays taken for 7 to 30 days."""
    assert put(cloud, name, "first").status == 204
    cloud.secrets.delete_by_hand(PREFIX + name)
    started = time.monotonic()
    answer = put(cloud, name, "second")
    assert answer.status == 409, answer.body
    assert "recovery window" in answer.json()["message"]
    assert time.monotonic() - started < 25, "API Gateway waits 30 s"


def test_an_agent_that_is_triggered_right_after_its_creation_finds_its_key(cloud):
    """R6. https://github.com/hashicorp/terraform-provider-aws/issues/18406"""
    cloud.secrets.visible_after = 2
    key = f"sk-{uuid.uuid4().hex}"
    cloud.model.accepted_keys = {key}
    agent = cloud.create_agent(model_fields={"api_key": key})
    end = cloud.run_until_ended(cloud.trigger(agent))
    assert (end["status"], end["attempt"]) == ("SUCCESS", 1), end


def test_a_key_that_was_replaced_is_read_again_once_and_the_task_succeeds(cloud, name):
    """R11. A warm instance remembers a secret for minutes."""
    assert put(cloud, name, "old-key").status == 204
    agent = agent_with(cloud, name)
    assert cloud.run_until_ended(cloud.trigger(agent))["status"] == "SUCCESS"
    assert put(cloud, name, "new-key").status == 204
    cloud.model.accepted_keys = {"new-key"}
    reads = cloud.secrets.calls.count(("GetSecretValue", PREFIX + name))
    end = cloud.run_until_ended(cloud.trigger(agent, {"marker": name}))
    assert (end["status"], end["attempt"]) == ("SUCCESS", 1), end
    assert [request["key"] for request in cloud.model.requests_about(name)] == ["old-key", "new-key"]
    assert cloud.secrets.calls.count(("GetSecretValue", PREFIX + name)) == reads + 1


def test_a_key_that_is_wrong_and_was_not_replaced_is_not_tried_twice(cloud, name):
    """R11. A refusal is permanent, and a second call would be one more for nothing."""
    assert put(cloud, name, "wrong-key").status == 204
    cloud.model.accepted_keys = set()
    end = cloud.run_until_ended(cloud.trigger(agent_with(cloud, name), {"marker": name}))
    assert (end["status"], end["error"]["type"]) == ("FAILURE", "model_error")
    assert len(cloud.model.requests_about(name)) == 1
