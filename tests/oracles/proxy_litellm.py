"""A LiteLLM proxy as the model's server: its answers, its errors, and those of the upstream behind it."""

import json
import os
import secrets
import time

import servers
from model import completion
from product import FOLDER, HERE, PYTHON, Caller

KEY = "sk-good-key-0123"
SCHEMA = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"], "additionalProperties": False}
# Names of models at the proxy, and what is behind them. `gpt-4` is known not to have `response_format`.
MODELS = {
    "scripted": {"model": "openai/scripted"},
    "no-schema": {"model": "openai/gpt-4"},
    "no-tools": {"model": "nlp_cloud/finetuned-llama"},
    "reasoning": {"model": "openai/o3-mini"},
    # For a request by the protocol of Anthropic, the proxy sends chat completions to this upstream.
    "messages": {"model": "hosted_vllm/scripted"},
    "mocked": {"model": "openai/mocked", "mock_response": "Hello from the mock."},
    "mock-rate-limit": {"model": "openai/mocked", "mock_response": "litellm.RateLimitError"},
    "mock-context": {"model": "openai/mocked", "mock_response": "litellm.ContextWindowExceededError"},
    "mock-internal": {"model": "openai/mocked", "mock_response": "litellm.InternalServerError"},
}


class Upstream(Caller):
    """Does what the payload says: `{"say": …}`, `{"fail": [status, body], "times": n}`, or the calls of a list."""

    def __init__(self):
        super().__init__()
        self.requests, self.failures = [], {}
        inner = self.server.RequestHandlerClass
        model = self

        class Handler(inner):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.requests.append(asked)
                status, headers, said = model.respond(asked)
                data = json.dumps(said).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        self.server.RequestHandlerClass = Handler

    def respond(self, asked):
        payload = json.loads([message["content"] for message in asked["messages"] if message["role"] == "user"][-1])
        if isinstance(payload, list):
            return 200, {}, self.reply(asked)
        if "fail" in payload:
            failed = self.failures[json.dumps(payload)] = self.failures.get(json.dumps(payload), 0) + 1
            if failed <= payload.get("times", 99):
                status, headers, body = payload["fail"]
                return status, headers, body
        reply = completion({"role": "assistant", "content": payload["say"], **payload.get("message", {})}, payload.get("finish", "stop"))
        reply["usage"] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        return 200, {}, reply


def run(report, product, folder):
    upstream = Upstream()
    proxy = start(folder, upstream)
    try:
        answers(report, product, proxy, upstream)
        errors(report, product, proxy)
        anthropic(report, product, proxy, upstream)
    finally:
        proxy.close()
        upstream.close()


def start(folder, upstream):
    models = [{"model_name": name, "litellm_params": {"api_key": "upstream", "api_base": upstream.url, "max_retries": 0, **behind}}
              for name, behind in MODELS.items()]
    config = folder / "litellm.yaml"
    # JSON is YAML.
    config.write_text(json.dumps({
        "model_list": models,
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"custom_auth": "litellm_auth.check", "master_key": "sk-" + secrets.token_hex(32)}}))
    (folder / "litellm_auth.py").write_text((HERE / "programs/litellm_auth.py").read_text())
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    # Without it the proxy asks the Internet for prices.
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "DISABLE_ADMIN_UI": "True"}
    return servers.Served([PYTHON, FOLDER / "venv/bin/litellm", "--config", config, "--host", "127.0.0.1", "--port", "PORT"],
                          "/health/liveliness", folder / "litellm.log", environment)


def answers(report, product, proxy, upstream):
    with report.case("a mocked answer"):
        status = ended(product, proxy, "mocked", {"ask": "?"})
        report.expect(answer(status) == "Hello from the mock.", status)
    with report.case("an answer of the upstream, and its tokens"):
        status = ended(product, proxy, "scripted", {"say": "Grüße 世界"})
        report.expect(answer(status) == "Grüße 世界", status)
        report.expect((status["usage"] or {}).get("input_tokens") == 11 and status["usage"]["output_tokens"] == 7, status)
    with report.case("reasoning goes to `thought`"):
        status = ended(product, proxy, "scripted", {"say": "42", "message": {"reasoning_content": "six times seven"}})
        report.expect(answer(status) == "42" and status["result"]["result"]["thought"] == "six times seven", status)
    with report.case("calls of tools, in parallel"):
        agent = create(product, proxy, "scripted", sources=[{"title": "Returns", "text": "Returns are free for 30 days."}],
                       tools=[{"type": "search_sources"}])
        status = product.trigger(agent, [["search_sources", {"query": "returns"}], ["search_sources", {"query": "free"}]])
        report.expect(answer(status) and "30 days" in answer(status), status)
        report.expect(len(status["result"]["result"]["tool_calls"]) == 2, status)
    with report.case("an enforced schema"):
        status = ended(product, proxy, "scripted", {"say": '{"order": 7}'}, output_schema=SCHEMA)
        report.expect(answer(status) == '{"order": 7}' and "response_format" in upstream.requests[-1], status)
    with report.case("an enforced schema that the proxy refuses (UnsupportedParamsError)"):
        agent = create(product, proxy, "no-schema", output_schema=SCHEMA)
        status = product.trigger(agent, {"say": '{"order": 8}'})
        report.expect(answer(status) == '{"order": 8}' and "response_format" not in upstream.requests[-1], status)
        refused = product.admin("GET", f"/api/agents/{agent['agent_id']}").json().get("model_refuses")
        report.expect(refused, "model_refuses is not set")
        status = product.trigger(agent, {"say": '{"order": 9}'})
        report.expect(answer(status) == '{"order": 9}', status)
    with report.case("a model of the o series"):
        status = ended(product, proxy, "reasoning", {"say": "fine"}, limits={"max_output_tokens": 100})
        report.expect(answer(status) == "fine", status)


def errors(report, product, proxy):
    cases = [
        # Title, model, key, payload, retryable, words of the message.
        ("tools that the proxy refuses", "no-tools", KEY, {"say": "x"}, False, "tools"),
        ("a wrong key", "scripted", "sk-wrong-key-4567", {"say": "x"}, False, "401"),
        ("an unknown model", "unknown", KEY, {"say": "x"}, False, "400"),
        ("a used-up budget", "scripted", "sk-budget-used-up", {"say": "x"}, False, "budget"),
        ("a context that is too long", "mock-context", KEY, {"say": "x"}, False, "400"),
        ("a refusal of the content", "scripted", KEY, {"say": "x", "fail": [400, {}, {"error": {
            "message": "flagged", "type": "invalid_request_error", "param": "prompt", "code": "content_policy_violation"}}]}, False, "400"),
        ("an answer that is cut off", "scripted", KEY, {"say": "The answer is", "finish": "length"}, False, ""),
        ("an empty answer", "scripted", KEY, {"say": ""}, False, ""),
    ]
    for title, model, key, payload, is_retryable, words in cases:
        with report.case(title):
            more = {"tools": [{"type": "search_sources"}], "sources": [{"title": "t", "text": "x"}]} if model == "no-tools" else {}
            started = time.monotonic()
            status = ended(product, proxy, model, payload, key=key, **more)
            error = status["error"] or {}
            report.expect(status["status"] == "FAILURE" and error["retryable"] == is_retryable and words in error["message"].lower(),
                          f"{status['status']} attempt {status['attempt']} after {time.monotonic() - started:.0f} s: {error or status['result']}")
    transient = {
        "the upstream is overloaded once (429, Retry-After)": [429, {"Retry-After": "1"}, {"error": {
            "message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}}],
        "the upstream fails once (500)": [500, {}, {"error": {"message": "oops", "type": "server_error", "param": None, "code": None}}],
        "the upstream is unavailable once (503)": [503, {}, {"error": {"message": "overloaded", "type": "server_error"}}],
    }
    for title, failure in transient.items():
        with report.case(title):
            status = ended(product, proxy, "scripted", {"say": "recovered", "fail": failure, "times": 1})
            report.expect(answer(status) == "recovered" and status["attempt"] == 2, status)
    for title, model in {"a rate limit": "mock-rate-limit", "an internal error": "mock-internal"}.items():
        with report.case(f"{title}, each time"):
            status = ended(product, proxy, model, {"say": "x"}, limits={"timeout_seconds": 10})
            report.expect(status["status"] == "FAILURE" and status["error"]["retryable"] and status["attempt"] > 1, status)
    with report.case("one request a minute (429 of the proxy)"):
        agent = create(product, proxy, "scripted", key="sk-one-a-minute", limits={"timeout_seconds": 10})
        first, second = product.trigger(agent, {"say": "first"}), product.trigger(agent, {"say": "second"})
        report.expect(answer(first) == "first" and second["status"] == "FAILURE" and "429" in second["error"]["message"]
                      and second["error"]["retryable"], (first, second))


def anthropic(report, product, proxy, upstream):
    model = {"provider": "anthropic", "base_url": proxy.url, "name": "messages", "api_key": KEY}
    with report.case("by the protocol of Anthropic: an answer"):
        status = product.trigger(product.create({"name": "messages", "model": model}), {"say": "Bonjour"})
        report.expect(answer(status) == "Bonjour", status)
    with report.case("by the protocol of Anthropic: a call of a tool"):
        agent = product.create({"name": "messages", "model": model, "tools": [{"type": "search_sources"}],
                                "sources": [{"title": "Returns", "text": "Returns are free for 30 days."}]})
        status = product.trigger(agent, [["search_sources", {"query": "returns"}]])
        report.expect("30 days" in (answer(status) or ""), status)
    with report.case("by the protocol of Anthropic: a wrong key"):
        agent = product.create({"name": "messages", "model": {**model, "api_key": "sk-wrong-key-4567"}})
        status = product.trigger(agent, {"say": "x"})
        report.expect(status["status"] == "FAILURE" and "401" in status["error"]["message"], status)


def create(product, proxy, model, key=KEY, **more):
    return product.create({"name": model, "model": {"provider": "openai", "base_url": f"{proxy.url}/v1", "name": model, "api_key": key}, **more})


def ended(product, proxy, model, payload, key=KEY, **more):
    return product.trigger(create(product, proxy, model, key, **more), payload)


def answer(status):
    return status["result"]["result"]["answer"] if status["status"] == "SUCCESS" else None
