"""Hostile prompts and hostile model servers, against the packaged functions: what another agent experiences.

The address space of each function is limited to its MemorySize (512 MB for the agent function). Tasks of the
attacked agent and of another agent, the bystander, are in one batch, so that one process runs them. The check
`hostile` has the same attacks against the local server.

What the emulator does otherwise than Lambda:
- Lambda limits the memory that a function uses, all its processes together. The limit here is on the address
  space of each process, and the memory in use of all of them is measured beside it.
- Health is answered by another function, as on AWS, so that it only shows that the API works.
"""

import json
import re
import threading
import time
from pathlib import Path

import pytest
import requests
from conftest import ANSWER, ROOT, SEARCH, Agents, Stack, completion, start_emulator, stop_emulator, wait_until
from fake_server import FakeServer
from running import descendants

STATE = ROOT / ".emulator" / "hostile"
PARAMETERS = {"AgentTimeoutSeconds": "30", "MaxAttempts": "2", "AgentCacheSeconds": "1", "AllowedPrivateHosts": "127.0.0.1",
              "MaximumConcurrency": "2"}
MIB = 2**20
MEMORY = 512 * MIB
# From the start of the batch to the end of the bystander's tasks. Alone they take a second.
BYSTANDERS_END_WITHIN = 10
HEALTH_WITHIN = 1
BYSTANDERS = 4


# ------------------------------------------------------------- The attacks

def many_rows_and_keys():
    return json.dumps({"rows": [1] * 14_000, "m": {f"k{n}": 0 for n in range(40_000)}}, separators=(",", ":"))


def many_items_and_a_long_text():
    return json.dumps({"items": [0] * 60_000, "fallback": "x" * 700_000}, separators=(",", ":"))


LOOKS_AT_KEYS = "{% for r in payload.rows %}{% if payload.m %}x{% endif %}{% endfor %}"
MULTIPLIES = "{{ 'Notes: ' ~ payload.items|map(attribute='note', default=payload.fallback) }}"
# Each list of one number takes a hundred bytes or more as a value.
SWELLING = 4 * MIB


def nested(size):
    return f"[{','.join(['[0]'] * (size // 4))}]"


def reply_with_an_unknown_field():
    """In the message, because a server may want to get its own fields back with the next question."""
    reply = json.dumps(completion("any", {"content": ANSWER, "zz": "HERE"}, "stop"))
    return reply.replace('"HERE"', nested(2 * SWELLING - 4096))


def reply_with_large_arguments():
    """As an object. The protocol has them as text, and some servers send them so."""
    call = {**SEARCH, "function": {"name": "search_sources", "arguments": "HERE"}}
    reply = json.dumps(completion("any", {"content": None, "tool_calls": [call]}, "tool_calls"))
    return reply.replace('"HERE"', f'{{"query":{nested(2 * SWELLING - 4096)}}}')


def reply_that_calls(tool):
    call = {"id": "call-1", "type": "function", "function": {"name": tool, "arguments": "{}"}}
    return json.dumps(completion("any", {"content": None, "tool_calls": [call]}, "tool_calls"))


def model_of(name):
    def agent(server):
        return {"model": {"provider": "openai", "base_url": f"{server.url}/v1", "name": name}}
    return agent


def with_search(server):
    return {**model_of("arguments")(server), "tools": [{"type": "search_sources"}],
            "sources": [{"title": "Shop", "text": "Goods can be returned within 30 days."}]}


def with_mcp(server):
    return {**model_of("calls-swell")(server), "tools": [{"type": "mcp", "name": "docs", "url": f"{server.url}/mcp", "allow": ["swell"]}]}


ATTACKS = {
    "B1 a prompt that looks at many keys many times":
        (lambda server: {**model_of("answers")(server), "prompt": LOOKS_AT_KEYS}, many_rows_and_keys()),
    "B2 a prompt that multiplies a long text":
        (lambda server: {**model_of("answers")(server), "prompt": MULTIPLIES}, many_items_and_a_long_text()),
    "B3 a reply with a large unknown field": (model_of("unknown-field"), "{}"),
    "B3 a reply with large arguments of a tool": (with_search, "{}"),
    "B3 an MCP server with a large result": (with_mcp, "{}"),
}


class HostileServer:
    """Model and MCP server in one. Its answers are made beforehand, so that it is not what takes time."""

    def __init__(self):
        replies = {
            "answers": json.dumps(completion("answers", {"content": ANSWER}, "stop")),
            "unknown-field": reply_with_an_unknown_field(),
            "arguments": reply_with_large_arguments(),
            "calls-swell": reply_that_calls("swell"),
        }
        self.replies = {name: reply.encode() for name, reply in replies.items()}
        self.swollen = nested(SWELLING - 4096)
        self.server = FakeServer(self.respond)
        self.url = self.server.url
        self.base_url = f"{self.url}/v1"

    def respond(self, path, _headers, body):
        body = json.loads(body)
        return self.mcp(body) if path == "/mcp" else (200, self.reply(body))

    def reply(self, body):
        has_called = body["messages"][-1]["role"] == "tool"
        return self.replies["answers" if has_called else body["model"]]

    def mcp(self, body):
        results = {
            "initialize": '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}',
            "tools/list": '{"tools":[{"name":"swell","description":"Swells","inputSchema":{"type":"object"}}]}',
            "tools/call": f'{{"content":[{{"type":"text","text":"done"}}],"structuredContent":{{"rows":{self.swollen}}}}}',
        }
        if "id" not in body:
            return 202, b""
        if body["method"] not in results:
            return 400, json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32601, "message": "unknown method"}}).encode()
        return 200, f'{{"jsonrpc":"2.0","id":{json.dumps(body["id"])},"result":{results[body["method"]]}}}'.encode()


# ------------------------------------------------------ What others experience

class Watch:
    """Asks for health, and measures the memory of the agent function's processes, until it is ended."""

    def __init__(self, stack):
        self.stack, self.over = stack, threading.Event()
        self.peak, self.slowest, self.unhealthy = 0, 0.0, []
        self.threads = [threading.Thread(target=work) for work in (self.measure, self.ask)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def measure(self):
        while not self.over.wait(0.02):
            self.peak = max([self.peak, *map(memory_of, runners(self.stack.emulator_pid))])

    def ask(self):
        while not self.over.wait(0.1):
            started = time.monotonic()
            try:
                status = requests.get(f"{self.stack.base_url}/api/health", timeout=10).status_code
            except requests.RequestException as error:
                status = repr(error)
            self.slowest = max(self.slowest, time.monotonic() - started)
            if status != 200:
                self.unhealthy.append(status)


def runners(emulator_pid):
    """The agent function's processes. Children that they start are not among them."""
    found = []
    for pid in descendants(emulator_pid):
        try:
            if b"AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_URL=" in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def memory_of(pid):
    """Resident bytes of a process and its children."""
    total = 0
    for process in {pid, *descendants(pid)}:
        try:
            total += int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())[1]) * 1024
        except (OSError, TypeError):
            # It has ended.
            continue
    return total


@pytest.fixture(scope="module")
def stack():
    stack = Stack(start_emulator(STATE, PARAMETERS, "--limit-memory"))
    yield stack
    stop_emulator(STATE)


@pytest.fixture(scope="module")
def server():
    server = HostileServer()
    yield server
    server.server.close()


@pytest.fixture(scope="module")
def bystander(stack, server):
    return Agents(stack, server).create("answers")


def test_each_function_starts_within_its_memory(stack, server, bystander):
    """A control: without an attack, the limit is not what ends a task."""
    end = stack.wait_for_end(Agents(stack, server).trigger(bystander, {}))
    assert (end["status"], end["attempt"]) == ("SUCCESS", 1), end
    limits = {re.search(r"Max address space +(\w+)", Path(f"/proc/{pid}/limits").read_text())[1] for pid in runners(stack.emulator_pid)}
    # Children that render prompts have less.
    assert max(map(int, limits)) == MEMORY


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_on_one_agent_does_not_reach_another(attack, stack, server, bystander):
    definition, payload = ATTACKS[attack]
    agents = Agents(stack, server)
    attacked = agents.create("answers", **definition(server))
    with stack.pause_queue():
        hostile = [agents.trigger(attacked, data=payload) for _ in range(4)]
        tasks = [agents.trigger(bystander, {"order": number}) for number in range(BYSTANDERS)]
    started = time.monotonic()
    with Watch(stack) as watch:
        ends = [stack.wait_for_end(task) for task in tasks]
        took = time.monotonic() - started
        outcomes = wait_until("the attacked agent's tasks to end", lambda: all_ended(stack, hostile))
    figures = (f"{attack}: others' tasks took {took:.1f} s, health {watch.slowest * 1000:.0f} ms at most, "
               f"memory {watch.peak / MIB:.0f} MiB at most, the attacked tasks ended in {outcomes}")
    print(figures)
    assert [(end["status"], end["attempt"]) for end in ends] == [("SUCCESS", 1)] * BYSTANDERS, figures
    assert took < BYSTANDERS_END_WITHIN, figures
    assert (watch.unhealthy, watch.slowest < HEALTH_WITHIN) == ([], True), figures
    assert watch.peak < MEMORY, figures
    assert "worker_lost" not in outcomes, figures


def all_ended(stack, tasks):
    """How each task ended, or None while one has not."""
    answers = [stack.status(task).json() for task in tasks]
    if all(answer["status"] in ("SUCCESS", "FAILURE") for answer in answers):
        return sorted(answer["status"] if answer["error"] is None else answer["error"]["type"] for answer in answers)
    return None
