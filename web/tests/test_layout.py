"""Pages do not shift while they load."""

import pytest
from playwright.sync_api import expect

import browser as chromium
from model import refuses, says

# The entries of Chromium's "cumulative layout shift".
WATCH = """
window.shifts = [];
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) window.shifts.push([entry.value, entry.sources.map(source => source.node?.className).join()]);
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def addresses(api, model):
    agent = api.create(name="still", model=model.playing(says("It **stands** still."), says("two"), refuses(400)))
    answered, _, failed = [api.run(agent, {"number": number})["task_id"] for number in range(3)]
    # By path: the element that is loaded last.
    return {
        "/console/": ".models",
        "/console/tasks": ".task-table .row-other",
        "/console/tasks?status=FAILURE": ".task-table .row-other",
        f"/console/tasks/{answered}": ".answer strong",
        f"/console/tasks/{failed}": ".failure",
        f"/console/agents/{agent['agent_id']}": ".task-table",
    }


@pytest.mark.parametrize("mode", ["light", "phone"])
def test_nothing_moves_while_a_page_loads(signed_in, addresses, mode):
    chromium.set_mode(signed_in, mode)
    signed_in.add_init_script(WATCH)
    for address, last in addresses.items():
        signed_in.goto(address)
        expect(signed_in.locator(last).first).to_be_visible()
        shifts = signed_in.evaluate("window.shifts")
        assert sum(value for value, _ in shifts) < 0.01, f"{address}: {shifts}"


def test_names_that_are_loaded_after_the_tasks_move_nothing(signed_in, addresses):
    signed_in.add_init_script(WATCH)
    held = []
    signed_in.route("**/api/agents", lambda route: held.append(route))
    signed_in.goto("/console/tasks")
    name = signed_in.locator(".task-table .agent-name").first
    expect(name).to_have_text("…")
    long = "an agent whose name takes a lot of room"
    for route in held:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"still"', f'"{long}"'))
    expect(name).to_have_text(long)
    signed_in.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    shifts = signed_in.evaluate("window.shifts")
    assert sum(value for value, _ in shifts) < 0.01, shifts
