"""SQS, at the wire for the product and in Python for the event source mapping.

Sources:
- https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/ (SendMessage, ChangeMessageVisibility)
- https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
- https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
- https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html (the trace header of a request is stored with its messages)
"""

import hashlib
import json
import threading
import time
import uuid

from .wire import Response, Server

MOST_DELAY_SECONDS = 900
MOST_VISIBILITY_SECONDS = 43_200


class Refused(Exception):
    """A 400 of SQS, by its code."""


class Clock:
    """The time of the queues. Tests move it forward; the functions' clocks stay."""

    def __init__(self):
        self.skipped = 0

    def now(self):
        return time.time() + self.skipped

    def skip(self, seconds):
        self.skipped += seconds


class Message:
    def __init__(self, body, group, trace_header, now, delay):
        self.id = str(uuid.uuid4())
        self.body = body
        self.group = group
        self.trace_header = trace_header
        self.sent_at = now
        self.visible_at = now + delay
        self.first_received_at = None
        self.received_at = None
        self.receives = 0
        self.receipt = None
        # In the hands of a function just now: not to be handed out early.
        self.is_in_invocation = False


class Queue:
    def __init__(self, name, arn, url, properties, clock):
        self.name, self.arn, self.url, self.clock = name, arn, url, clock
        self.visibility_timeout = int(properties.get("VisibilityTimeout", 30))
        self.retention = int(properties.get("MessageRetentionPeriod", 345_600))
        self.most_bytes = int(properties.get("MaximumMessageSize", 1_048_576))
        policy = properties.get("RedrivePolicy", {})
        self.most_receives = int(policy["maxReceiveCount"]) if policy else None
        self.dead_letter_arn = policy.get("deadLetterTargetArn")
        self.dead_letters = None
        self.messages = []
        # Seconds that messages were handed out ahead of time, in all.
        self.hurried = 0
        self.sends = 0
        self.lock = threading.RLock()

    def send(self, body, group=None, trace_header=None, delay=0):
        if len(body.encode()) > self.most_bytes:
            raise Refused("InvalidParameterValue")
        if not 0 <= delay <= MOST_DELAY_SECONDS:
            raise Refused("InvalidParameterValue")
        message = Message(body, group, trace_header, self.clock.now(), delay)
        with self.lock:
            self.messages.append(message)
            self.sends += 1
        return message

    def receive(self, most, early=False):
        """Up to so many visible messages; with `early` also hidden ones that no function holds."""
        with self.lock:
            self._expire()
            now, received = self.clock.now(), []
            for message in sorted(self.messages, key=lambda message: message.visible_at):
                is_visible = message.visible_at <= now
                if len(received) == most or not (is_visible or early and not message.is_in_invocation):
                    continue
                # "When the ReceiveCount for a message exceeds the maxReceiveCount, SQS moves the message."
                if self.most_receives and message.receives >= self.most_receives:
                    self._move_to_dead_letters(message)
                    continue
                self.hurried += max(0, message.visible_at - now)
                message.receives += 1
                message.received_at = now
                message.first_received_at = message.first_received_at or now
                message.visible_at = now + self.visibility_timeout
                message.receipt = uuid.uuid4().hex
                received.append(message)
            return received

    def _expire(self):
        """Retention counts from the first send, also in a dead-letter queue of a standard queue."""
        now = self.clock.now()
        self.messages = [message for message in self.messages if now - message.sent_at < self.retention]

    def _move_to_dead_letters(self, message):
        """The message keeps its id, the time it was sent and its receive count."""
        self.messages.remove(message)
        message.visible_at = self.clock.now()
        with self.dead_letters.lock:
            self.dead_letters.messages.append(message)

    def delete(self, message):
        with self.lock:
            if message in self.messages:
                self.messages.remove(message)

    def change_visibility(self, receipt, seconds):
        if not 0 <= seconds <= MOST_VISIBILITY_SECONDS:
            raise Refused("InvalidParameterValue")
        with self.lock:
            now = self.clock.now()
            message = next((message for message in self.messages if message.receipt == receipt), None)
            if message is None:
                raise Refused("ReceiptHandleIsInvalid")
            if message.visible_at <= now:
                raise Refused("com.amazonaws.sqs#MessageNotInflight")
            # "You can't extend the total time beyond 12 hours", counted from the receive.
            if now + seconds > message.received_at + MOST_VISIBILITY_SECONDS:
                raise Refused("InvalidParameterValue")
            message.visible_at = now + seconds


class Sqs:
    """The endpoint: AWS JSON 1.0."""

    def __init__(self, clock):
        self.clock = clock
        self.queues = {}
        self.server = Server(self.answer)

    def create(self, queues):
        self.queues = {queue.url: queue for queue in queues}
        by_arn = {queue.arn: queue for queue in queues}
        for queue in queues:
            queue.dead_letters = by_arn.get(queue.dead_letter_arn)

    def answer(self, request):
        action = (request.header("x-amz-target") or "").removeprefix("AmazonSQS.")
        body = json.loads(request.body)
        queue = self.queues.get(body.get("QueueUrl"))
        try:
            if queue is None:
                raise Refused("QueueDoesNotExist")
            return Response(200, json.dumps(self._perform(action, queue, body, request)).encode(), JSON)
        except Refused as refusal:
            code = str(refusal)
            code = code if "#" in code else f"com.amazonaws.sqs#{code}"
            return Response(400, json.dumps({"__type": code, "message": code}).encode(), JSON)

    def _perform(self, action, queue, body, request):
        match action:
            case "SendMessage":
                # What aws-runtime's RecursionDetectionInterceptor sends.
                trace_header = request.header("x-amzn-trace-id")
                message = queue.send(body["MessageBody"], body.get("MessageGroupId"), trace_header, body.get("DelaySeconds", 0))
                return {"MessageId": message.id, "MD5OfMessageBody": hashlib.md5(message.body.encode()).hexdigest()}
            case "ChangeMessageVisibility":
                queue.change_visibility(body["ReceiptHandle"], body["VisibilityTimeout"])
                return {}
        raise Refused("UnsupportedOperation")


JSON = [("content-type", "application/x-amz-json-1.0")]
