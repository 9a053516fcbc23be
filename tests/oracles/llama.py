"""llama.cpp's server with a real model: its protocol, from the loading of the model to its errors. The model is that of tests/real-model."""

import importlib.util
import json
import os
import threading
import time

import servers
from product import ROOT, Recorder, request

KEY = "llama-key-0123456789"
SCHEMA = {"type": "object", "properties": {"order": {"type": "integer"}, "urgent": {"type": "boolean"}},
          "required": ["order", "urgent"], "additionalProperties": False}
MAIL = {"mail": "Hello, order 4711 has not arrived. It is urgent."}


def real_model():
    """Its module, whose name is also that of a module here."""
    specification = importlib.util.spec_from_file_location("real_model_install", ROOT / "tests/real-model/install.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.installed()


def run(report, product, folder):
    program, model = real_model()
    command = [program, "-m", model, "--alias", "qwen", "--host", "127.0.0.1", "--port", "PORT", "-c", "2048", "-t", str(os.cpu_count()),
               "-np", "1", "--temp", "0", "--seed", "1", "--jinja", "--api-key", KEY,
               "--chat-template-file", ROOT / "tests/real-model/chat_template.jinja"]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(program.parent)}
    # Ready means that it accepts connections; the model is loaded later.
    server = servers.Served(command, None, folder / "llama.log", environment)
    try:
        cases(report, product, server)
    finally:
        server.close()


def wait_until_loaded(server):
    deadline = time.monotonic() + servers.SECONDS_TO_START
    while request("GET", server.url + "/health").status != 200 and time.monotonic() < deadline:
        time.sleep(0.2)


def cases(report, product, server):
    def create(provider="openai", key=KEY, **more):
        url = server.url + ("/v1" if provider == "openai" else "")
        return product.create({"name": "llama", "model": {"provider": provider, "base_url": url, "name": "qwen", "api_key": key}, **more})

    with report.case("a trigger while the model is loaded"):
        status = product.trigger(create(prompt="Say in one sentence the number of the order."), MAIL)
        # 503 until then. On a slow machine that is longer than all attempts take.
        is_answered = status["status"] == "SUCCESS" and "4711" in status["result"]["result"]["answer"]
        report.expect(is_answered or (status["error"] or {}).get("retryable"), status)
        report.note(f"the model is loaded meanwhile: {status['status']} in attempt {status['attempt']}")
    wait_until_loaded(server)
    with report.case("an answer, and its tokens"):
        status = product.trigger(create(prompt="Say in one sentence the number of the order."), MAIL)
        report.expect(status["status"] == "SUCCESS" and "4711" in status["result"]["result"]["answer"], status)
        report.expect(status["usage"]["input_tokens"] > 20 and status["usage"]["output_tokens"] > 0, status)
    with report.case("an enforced schema (grammar)"):
        status = product.trigger(create(prompt="Take the order out of the mail.", output_schema=SCHEMA), MAIL)
        report.expect(status["status"] == "SUCCESS" and json.loads(status["result"]["result"]["answer"]) == {"order": 4711, "urgent": True}, status)
    with report.case("a call of a tool"):
        recorder = Recorder(b'{"state": "lost in Linz"}')
        operation = {"name": "get_order", "description": "The state of an order", "path": "/orders/{id}",
                     "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}}
        agent = create(prompt="Look up the order of the mail, and answer with its state in one sentence.",
                       tools=[{"type": "http", "name": "shop", "base_url": recorder.url, "operations": [operation]}])
        status = product.trigger(agent, MAIL)
        # What a model this small makes of the result is not the question.
        report.expect(status["status"] == "SUCCESS" and status["usage"]["turns"] == 2, status)
        report.expect(recorder.requests and recorder.requests[0][1] == "/orders/4711", recorder.requests)
        recorder.close()
    with report.case("an answer that is cut off"):
        status = product.trigger(create(prompt="Write a long story about the mail.", limits={"max_output_tokens": 16}), MAIL)
        report.expect(status["status"] == "FAILURE" and not status["error"]["retryable"], status)
    with report.case("a payload that exceeds the context"):
        status = product.trigger(create(), {"mail": "order 4711 " * 2000})
        report.expect(status["status"] == "FAILURE" and not status["error"]["retryable"] and "400" in status["error"]["message"], status)
    with report.case("a wrong key"):
        status = product.trigger(create(key="wrong-key-0123"), MAIL)
        report.expect(status["status"] == "FAILURE" and "401" in status["error"]["message"] and status["attempt"] == 1, status)
    with report.case("by the protocol of Anthropic"):
        status = product.trigger(create(provider="anthropic", prompt="Say in one sentence the number of the order."), MAIL)
        report.expect(status["status"] == "SUCCESS" and "4711" in status["result"]["result"]["answer"], status)
    with report.case("two triggers at once, for one slot"):
        agent, ended, began = create(prompt="Say in one sentence the number of the order."), [], time.monotonic()
        threads = [threading.Thread(target=lambda: ended.append(product.trigger(agent, MAIL))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report.expect([status["status"] for status in ended] == ["SUCCESS"] * 2, (ended, time.monotonic() - began))
