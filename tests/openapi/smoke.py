"""What an owner and a caller do, by the client that openapi-python-client makes."""

import sys
import time
from http import HTTPStatus
from io import BytesIO

from client import AuthenticatedClient, Client
from client.api.agents import create_agent, delete_agent, get_agent, rotate_webhook, update_agent
from client.api.documents import list_documents, upload_document
from client.api.tasks import list_tasks
from client.api.webhooks import get_task_status, trigger_agent
from client.models import AgentPatch, Answered, NewAgent, Problem, Rotation, Source, Status
from client.types import File

url, token = sys.argv[1:]
anonymous = Client(url, raise_on_unexpected_status=True)
owner = AuthenticatedClient(url, token, raise_on_unexpected_status=True)


def ended(task_id):
    while True:
        answer = get_task_status.sync_detailed(client=anonymous, task_id=task_id)
        if answer.parsed.status in (Status.SUCCESS, Status.FAILURE):
            return answer.parsed
        time.sleep(int(answer.headers["Retry-After"]) / 10)


def triggered():
    return trigger_agent.sync_detailed(webhook, client=anonymous, body=["returns", 1.5, None], idempotency_key="order-42")


new = NewAgent(name="python", sources=[Source(title="Returns", text="Returns are free for 30 days.")])
agent = create_agent.sync(client=owner, body=new)
webhook = agent.webhook_url.rsplit("/", 1)[1]

terms = File(payload=BytesIO(b"Terms may change."))
document = upload_document.sync(agent.agent_id, client=owner, source="terms.txt", body=terms)
assert list_documents.sync(agent.agent_id, client=owner).sources == [document]

first, again = triggered(), triggered()
assert again.parsed.task_id == first.parsed.task_id, "one key is one task"
assert again.headers["Idempotent-Replayed"] == "true"

task = ended(first.parsed.task_id)
assert task.status == Status.SUCCESS and isinstance(task.result, Answered), task
assert "30 days" in task.result.result.answer

tasks = list_tasks.sync(client=owner, agent_id=agent.agent_id, status=Status.SUCCESS).tasks
assert first.parsed.task_id in [listed.task_id for listed in tasks]

assert update_agent.sync(agent.agent_id, client=owner, body=AgentPatch(enabled=True)).enabled
rotated = rotate_webhook.sync(agent.agent_id, client=owner, body=Rotation(overlap_seconds=0))
assert rotated.webhook_url != agent.webhook_url
assert triggered().parsed.code == "agent_not_found", "the old URL has ended"

assert delete_agent.sync_detailed(agent.agent_id, client=owner).status_code == HTTPStatus.NO_CONTENT
gone = get_agent.sync(agent.agent_id, client=owner)
assert isinstance(gone, Problem) and gone.code == "agent_not_found", gone
