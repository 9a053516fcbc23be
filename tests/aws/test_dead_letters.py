"""What becomes of messages whose runs never end."""


def test_a_dead_letter_whose_receive_count_goes_on_ends_its_task_as_worker_lost(cloud):
    """R11. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html"""
    task = cloud.trigger(cloud.create_agent())
    (message,) = cloud.queue.messages
    message.receives = cloud.queue.most_receives
    end = cloud.run_until_ended(task)
    assert (end["status"], end["error"]["type"]) == ("FAILURE", "worker_lost")
    assert message.receives == cloud.queue.most_receives + 1
    assert cloud.dead_letters.messages == []


def test_a_dead_letter_is_never_sent_again_whatever_its_receive_count(cloud):
    """R11. Its count is above every threshold of the runner from the start."""
    agent = cloud.create_agent(limits={"max_concurrent_runs": 1})
    task = cloud.trigger(agent)
    (message,) = cloud.queue.messages
    message.receives = cloud.queue.most_receives
    sends = cloud.queue.sends + cloud.dead_letters.sends
    assert cloud.run_until_ended(task)["error"]["type"] == "worker_lost"
    assert cloud.queue.sends + cloud.dead_letters.sends == sends


def test_a_function_that_is_cut_off_returns_its_batch_and_the_task_is_run_again(cloud, monkeypatch):
    """R3. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html"""
    task = cloud.trigger(cloud.create_agent())
    with monkeypatch.context() as patch:
        patch.setattr(cloud.lambda_service.functions["AgentFunction"], "timeout", 0)
        assert cloud.mapping.deliver() == "FunctionError"
    assert cloud.run_until_ended(task)["status"] == "SUCCESS"


def test_a_record_without_a_message_group_is_run_all_the_same(cloud):
    """Not settled by documentation: whether the record of a standard queue names its message group."""
    cloud.mapping.names_groups = False
    task = cloud.trigger(cloud.create_agent(limits={"max_concurrent_runs": 1}))
    assert cloud.run_until_ended(task)["status"] == "SUCCESS"
