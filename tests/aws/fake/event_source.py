"""An event source mapping from a queue to a function.

Sources:
- https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html (the event)
- https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html (partial batch responses, back-off)
- https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html (maximum concurrency)
- https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html (a refused batch counts as a receive)
"""

import hashlib
import json
import threading
from contextlib import contextmanager

from .lambda_service import FunctionError, RecursiveInvocation, Throttled
from .template import REGION


class EventSourceMapping:
    def __init__(self, lambda_service, function, queue, properties):
        self.lambda_service, self.function, self.queue = lambda_service, function, queue
        self.batch_size = int(properties["BatchSize"])
        self.reports_failures = "ReportBatchItemFailures" in properties.get("FunctionResponseTypes", [])
        self.most_at_once = int(properties["ScalingConfig"]["MaximumConcurrency"])
        # Whether a record of a standard queue names its message group is not documented.
        self.names_groups = True

    def deliver(self, early=False):
        """Polls once and hands over one batch; returns what became of it, or None if there was none."""
        messages = self.queue.receive(self.batch_size, early)
        if not messages:
            return None
        for message in messages:
            message.is_in_invocation = True
        try:
            # The mapping sends one trace header with a batch. Which one is not documented:
            # the longest chain is the worst case.
            longest = max(messages, key=lambda message: self.function.lineage(message.trace_header))
            event = json.dumps({"Records": [self._record(message) for message in messages]}).encode()
            response = self.lambda_service.invoke(self.function.name, event, longest.trace_header)
            done = self._done(messages, response)
        except (Throttled, RecursiveInvocation, FunctionError) as refusal:
            # The messages stay hidden until their visibility time-out is over. Then they
            # are received again, which counts.
            return type(refusal).__name__
        finally:
            for message in messages:
                message.is_in_invocation = False
        for message in done:
            self.queue.delete(message)
        return "delivered"

    def _record(self, message):
        attributes = {
            "ApproximateReceiveCount": str(message.receives),
            "SentTimestamp": str(int(message.sent_at * 1000)),
            "SenderId": "AROAEXAMPLE:function",
            "ApproximateFirstReceiveTimestamp": str(int(message.first_received_at * 1000)),
        }
        if message.group and self.names_groups:
            attributes["MessageGroupId"] = message.group
        if message.trace_header:
            attributes["AWSTraceHeader"] = message.trace_header
        return {
            "messageId": message.id, "receiptHandle": message.receipt, "body": message.body, "attributes": attributes,
            "messageAttributes": {}, "md5OfBody": hashlib.md5(message.body.encode()).hexdigest(),
            "eventSource": "aws:sqs", "eventSourceARN": self.queue.arn, "awsRegion": REGION,
        }

    def _done(self, messages, response):
        """The messages to delete. An unreadable list of failures fails the whole batch."""
        if not self.reports_failures:
            return messages
        failures = (json.loads(response) or {}).get("batchItemFailures") or []
        failed = {failure.get("itemIdentifier") for failure in failures}
        if not failed <= {message.id for message in messages}:
            return []
        return [message for message in messages if message.id not in failed]

    @contextmanager
    def polling(self):
        """Polls in the background, as many batches at once as the mapping allows."""
        stop = threading.Event()

        def poll():
            while not stop.is_set():
                if self.deliver() != "delivered":
                    stop.wait(0.05)

        threads = [threading.Thread(target=poll, daemon=True) for _ in range(self.most_at_once)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
