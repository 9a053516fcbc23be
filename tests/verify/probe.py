"""The helper stack probe.yaml: an HTTP API and a queue in front of a function that reports its events."""

import json
import re

from verify.helper_stack import HelperStack
from verify.target import send_raw, wait_until


class Probe:
    def __init__(self, target, name):
        self.target = target
        self.helper = HelperStack(target, name, "probe.yaml")

    def start(self):
        outputs = self.helper.create().outputs
        self.function, self.queue = outputs["Function"], outputs["Queue"]
        self.base_url = outputs["Url"]
        if self.target.is_emulator:
            self.base_url = f"{self.target.endpoint}/_aws/execute-api/{outputs['ApiId']}/$default"
        # A new API can answer 404 or 500 for some seconds.
        wait_until(60, lambda: self.request("GET", "/ready").status == 200)

    def request(self, method, path, headers=(), body=None):
        return send_raw(self.base_url, method, path, headers, body)

    def send(self, order, group=None):
        options = {"MessageGroupId": group} if group else {}
        self.target.aws("sqs").send_message(QueueUrl=self.queue, MessageBody=json.dumps(order), **options)

    def batches(self, since):
        """What the function logged about the batches it received."""
        lines = self.target.log_lines(self.helper.outputs["LogGroup"], since, '"verify_batch"')
        return [line for line in lines if "verify_batch" in line]

    def stop(self):
        self.helper.delete()


def lineage(trace):
    """The number of hops that a trace header carries, or None if it carries none.

    Lambda writes it as the last number of `Lineage=1:ee9e7fe6:7`.
    """
    found = re.search(r"Lineage=([^;]+)", trace or "")
    if not found:
        return None
    counts = [part.rpartition(":")[2] for part in found.group(1).split("|")]
    return max((int(count) for count in counts if count.isdigit()), default=None)


def receives(batches, do):
    """Every receive of an order: (time, record), in order of time."""
    seen = [(batch["at"], record) for batch in batches for record in batch["verify_batch"] if record["body"]["do"] == do]
    return sorted(seen, key=lambda receive: receive[0])
