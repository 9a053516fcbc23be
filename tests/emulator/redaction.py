"""What tests/check_redaction.py reads of the deployed stack: every line of its
functions' logs, and every secret that the tests handed it or got from it."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "target" / "redaction"
SECRETS = FOLDER / "deployed.secrets"
LOG = FOLDER / "deployed.log"


def begin():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in (SECRETS, LOG):
        file.unlink(missing_ok=True)


def secret(kind, value):
    with SECRETS.open("a") as file:
        file.write(json.dumps({"kind": kind, "value": value}) + "\n")


def webhook(url):
    secret("webhook token", url.rpartition("/")[2])


def definition(agent):
    if token := agent.get("webhook_token"):
        secret("webhook token", token)
    key = (agent.get("model") or {}).get("api_key")
    # Not the name of a stored one.
    if isinstance(key, str):
        secret("API key", key)
    if prompt := agent.get("prompt"):
        secret("prompt", prompt)


def payload(text, ends=300):
    """Of a long text its ends, which is enough to find it."""
    for part in {text[:ends], text[-ends:]}:
        secret("payload", part)


def keep_logs(logs):
    """Every event of every log group."""
    with LOG.open("w") as file:
        for group in logs.describe_log_groups()["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                for event in page["events"]:
                    file.write(f"{group['logGroupName']} {event['message'].rstrip()}\n")
