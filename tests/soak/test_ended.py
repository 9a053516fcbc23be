"""The lines are read as the product writes them: these are lines of real runs."""

from ended import end_lines

TASK = "01a20fda-542f-7d6f-9c77-1ea5f486efdf"
STARTED = (
    '{"timestamp":"2026-11-24T23:18:16.625Z","level":"INFO","task_id":"01a20fda-542f-7d6f-9c77-1ea5f486efdf",'
    '"agent_id":"75a93359-12c3-4cc0-833c-7855769951dc","attempt":2,"message":"attempt started"}')
ENDED = (
    '{"timestamp":"2026-11-24T23:18:16.743Z","level":"INFO","task_id":"01a20fda-542f-7d6f-9c77-1ea5f486efdf",'
    '"agent_id":"75a93359-12c3-4cc0-833c-7855769951dc","attempt":2,"message":"task ended","outcome":"success",'
    '"queue_ms":14,"run_ms":118,"total_ms":365,"input_tokens":11,"output_tokens":4}')
DEPLOYED = (
    '{"level":"INFO","request_id":"c6b5e0a5-fd83-43bd-97a0-ee87e4f22bc3","task_id":"01a20fdc-4aaa-75ff-8497-3a9153d2a33a",'
    '"agent_id":"cd1b335d-c0dd-40db-8eb4-807bed277dc5","attempt":1,"message":"task ended","outcome":"success",'
    '"queue_ms":143,"run_ms":19,"total_ms":162,"input_tokens":11,"output_tokens":4,"stack":"agent-webhooks","tasks":1,'
    '"_aws":{"Timestamp":1795562425166,"CloudWatchMetrics":[{"Namespace":"AgentWebhooks","Dimensions":[["stack","outcome"]],'
    '"Metrics":[{"Name":"tasks","Unit":"Count"}]},{"Namespace":"AgentWebhooks","Dimensions":[["stack"]],"Metrics":['
    '{"Name":"queue_ms","Unit":"Milliseconds"},{"Name":"run_ms","Unit":"Milliseconds"},{"Name":"total_ms","Unit":'
    '"Milliseconds"},{"Name":"input_tokens","Unit":"Count"},{"Name":"output_tokens","Unit":"Count"}]}]}}')


def read(folder, *lines):
    log = folder / "log"
    log.write_text("\n".join(lines))
    return list(end_lines(log))


def test_a_line_of_the_local_server_is_an_end(tmp_path):
    assert read(tmp_path, STARTED, ENDED) == [{"task_id": TASK, "outcome": "success"}]


def test_a_line_of_the_deployed_runner_is_an_end_with_its_metrics_and_behind_the_emulators_words(tmp_path):
    end = {"task_id": "01a20fdc-4aaa-75ff-8497-3a9153d2a33a", "outcome": "success"}
    assert read(tmp_path, "INFO [lambda] ESM: {1} output:", DEPLOYED, f"stderr of {{x}}: {DEPLOYED}") == [end, end]


def test_a_line_that_a_kill_cut_short_is_none(tmp_path):
    assert read(tmp_path, ENDED, ENDED[:-20], DEPLOYED[:-20]) == [{"task_id": TASK, "outcome": "success"}]
